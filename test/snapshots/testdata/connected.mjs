import net from "node:net";
const [host, port] = process.env.SERVER.split(":");

// A connection and what became of it.
function connect() {
  const c = { socket: net.connect({ host, port }), lost: null };
  c.socket.on("error", (e) => { c.lost ??= e.code; });
  c.socket.on("close", () => { c.lost ??= "closed"; });
  return c;
}

function ask(c) {
  return new Promise((answer) => {
    if (c.lost) return answer(c.lost);
    const patience = setTimeout(() => answer("timeout"), 20000);
    const done = (what) => { clearTimeout(patience); answer(what); };
    c.socket.once("data", (b) => done(b.toString()));
    c.socket.once("close", () => done(c.lost ?? "closed"));
    c.socket.write("question\n", (e) => { if (e) done(e.code); });
  });
}

const kept = connect();
const ready = await ask(kept); // it works before the snapshot

export const handler = async (event) => {
  await new Promise((r) => setTimeout(r, 1000 * (event.sleep || 0)));
  return { born: ready, kept: await ask(kept), again: await ask(connect()) };
};
