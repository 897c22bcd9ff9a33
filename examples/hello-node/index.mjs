// Greets, and tells how often this instance has been called.

let calls = 0;

export const handler = async (event, context) => {
  calls += 1;
  console.log("greeting", event.name);
  return {
    message: `Hello, ${event.name ?? "world"}, from Node.js!`,
    calls,
    memory: context.memoryLimitInMB,
  };
};
