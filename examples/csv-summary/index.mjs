// Data processing: reads a CSV text, groups its rows by one column and sums up
// another. Writes the result to /tmp first, as a job with large results would.

import { writeFile, stat } from "node:fs/promises";

const parse = (csv) => {
  const [head, ...rows] = csv.trim().split(/\r?\n/).map((line) => line.split(","));
  return rows.map((row) => Object.fromEntries(head.map((name, i) => [name, row[i]])));
};

export const handler = async ({ csv, by, sum }) => {
  const groups = {};
  for (const row of parse(csv)) {
    const value = Number(row[sum]);
    if (!(by in row) || Number.isNaN(value)) {
      throw new TypeError(`each row needs a ${by} and a number as ${sum}: ${JSON.stringify(row)}`);
    }
    const g = (groups[row[by]] ??= { rows: 0, total: 0 });
    g.rows += 1;
    g.total += value;
  }
  await writeFile("/tmp/summary.json", JSON.stringify(groups));
  const { size } = await stat("/tmp/summary.json");
  return { groups, bytes: size };
};
