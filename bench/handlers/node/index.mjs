export const handler = async (event) => {
  if (event.pause) await new Promise((done) => setTimeout(done, event.pause)); // milliseconds
  return { hello: event.name ?? "world" };
};
