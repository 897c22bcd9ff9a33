// The program of the HTTP bench in JavaScript: see main.go.
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

const hello = (body) => JSON.stringify({ hello: JSON.parse(body).name });

const call = async (event) => ({ statusCode: 200, headers: { 'Content-Type': 'application/json' }, body: hello(event.body) });

const stream = async (event, out) => {
  if (event.rawPath !== '/stream') {
    out.end(hello(event.body));
    return;
  }
  out.write('first');
  await pause(parseInt(event.queryStringParameters?.pause) || 0);
  out.end(' last');
};

const serve = (port, host) => {
  const server = http.createServer(async (req, res) => {
    const url = new URL(req.url, 'http://x');
    if (url.pathname === '/stream') {
      res.write('first');
      await pause(parseInt(url.searchParams.get('pause')) || 0);
      res.end(' last');
      return;
    }
    if (url.pathname === '/address') { // where the caller reaches it
      res.end(`${req.socket.localAddress.replace('::ffff:', '')}:${req.socket.localPort}`);
      return;
    }
    let body = '';
    for await (const part of req) body += part;
    res.setHeader('Content-Type', 'application/json');
    res.end(hello(body));
  });
  server.listen(port, host, () => console.log(server.address().port));
};

switch (process.argv[2]) {
  case '-web': serve(process.env.PORT); break;
  case '-plain': serve(0, '127.0.0.1'); break;
}
export const handler = call;
export const streaming = globalThis.awslambda?.streamifyResponse(stream);
