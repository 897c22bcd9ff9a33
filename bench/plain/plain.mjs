// The bench's plain server: the Node handler behind node:http, no isolation.
import http from "node:http";
import { pathToFileURL } from "node:url";

const { handler } = await import(pathToFileURL(`${process.argv[2]}/index.mjs`));
const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    const body = JSON.stringify(await handler(JSON.parse(Buffer.concat(parts))));
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
