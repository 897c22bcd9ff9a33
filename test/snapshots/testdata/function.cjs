const crypto = require('crypto');
const fs = require('fs');
const { random } = Math; // what init holds on to
const born = crypto.randomUUID();
random();
crypto.randomInt(10);

exports.handler = async (event, context) => {
  await new Promise((resolve) => setTimeout(resolve, (event.sleep || 0) * 1000));
  const { publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    born, now: Date.now() / 1000, stream: context.logStreamName, env: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    random: [
      String(random()), crypto.randomBytes(8).toString('hex'), crypto.randomUUID(), String(crypto.randomInt(2 ** 47)),
      publicKey.export({ type: 'spki', format: 'der' }).toString('hex'), fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'),
    ],
  };
};
