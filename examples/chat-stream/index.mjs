// Answers a question word by word, as server-sent events: what a chat page reads
// while the answer is made. Give it a URL in stream mode:
//
//   mayfly deploy chat-stream
//   mayfly url chat-stream --public --stream
//   curl -N "$(mayfly url chat-stream)?q=why"
import { setTimeout as pause } from 'node:timers/promises';

async function* answer(question) {
  const words = `You asked: ${question}. Here is what comes to mind, one word at a time.`.split(' ');
  for (const word of words) {
    yield word;
    await pause(20); // a model takes its time
  }
}

export const handler = awslambda.streamifyResponse(async (event, out) => {
  out = awslambda.HttpResponseStream.from(out, {
    statusCode: 200,
    headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' },
  });
  const question = event.queryStringParameters?.q ?? 'nothing';
  for await (const word of answer(question)) {
    out.write(`data: ${JSON.stringify({ word })}\n\n`);
  }
  out.end('event: done\ndata: {}\n\n');
});
