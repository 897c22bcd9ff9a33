'use strict';
// An Express application with a WebSocket beside it, as it would run anywhere.
const express = require('express');
const { WebSocketServer } = require('ws');

const app = express();
app.use(express.json());
app.get('/hello/:name', (req, res) => res.json({ hello: req.params.name, query: req.query }));
app.post('/sum', (req, res) => res.json({ sum: req.body.numbers.reduce((a, b) => a + b, 0) }));
app.get('/', (req, res) => res.type('html').send(`<!doctype html><title>Ticks</title><ol id="ticks"></ol>
<script>
  const source = new EventSource('ticks');
  source.onmessage = (e) => { document.getElementById('ticks').append(Object.assign(document.createElement('li'), { textContent: e.data })); };
  source.addEventListener('go', () => { source.close(); document.title = 'done'; });
</script>`));

// Ticks stop after two until the page, or another client, says that it got them.
let go = () => {};
app.get('/ticks', async (req, res) => {
  res.type('text/event-stream');
  res.write('data: one\n\ndata: two\n\n');
  await new Promise((r) => { go = r; });
  res.end('data: three\n\nevent: go\ndata: x\n\n');
});
app.post('/go', (req, res) => { go(); res.end(); });

const server = app.listen(process.env.PORT);
new WebSocketServer({ server, path: '/ws' }).on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
process.on('SIGTERM', () => { console.log('told to end'); server.close(() => process.exit(0)); server.closeAllConnections(); });
