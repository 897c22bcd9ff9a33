import { S3Client } from "@aws-sdk/client-s3";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";

const s3 = new S3Client({ region: "us-east-1" });
const dynamodb = new DynamoDBClient({ region: "us-east-1" });

export const handler = async (event) => ({
  hello: event.name ?? "world",
  clients: [s3, dynamodb].map((c) => c.constructor.name),
});
