// A phone of the console's test: it subscribes over UDP and answers each NOTIFY with a status that can be changed; 0 = not at all.
import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';

const id = () => randomBytes(8).toString('hex');
const header = (text, name) => text.match(new RegExp(`^${name}:\\s*(.*)$`, 'im'))?.[1].trim();

export async function subscribe(server, presentity, userAgent) {
  const socket = createSocket('udp4');
  await new Promise((done) => socket.bind(0, '127.0.0.1', done));
  const { port } = socket.address();
  const [host, to] = server.split(':');
  const phone = { status: 200, bodies: [], close: () => socket.close() };
  const request = [
    `SUBSCRIBE ${presentity} SIP/2.0`,
    `Via: SIP/2.0/UDP 127.0.0.1:${port};rport;branch=z9hG4bK${id()}`,
    'Max-Forwards: 70',
    `From: <${presentity}>;tag=${id()}`,
    `To: <${presentity}>`,
    `Call-ID: ${id()}`,
    'CSeq: 1 SUBSCRIBE',
    `Contact: <sip:phone@127.0.0.1:${port}>`,
    'Event: as-feature-event',
    'Accept: application/x-as-feature-event+xml, multipart/mixed',
    'Expires: 3600',
    `User-Agent: ${userAgent}`,
    'Content-Length: 0',
  ];
  const granted = new Promise((done, failed) => {
    socket.on('message', (bytes, from) => {
      const text = bytes.toString('latin1');
      if (text.startsWith('SIP/2.0')) {
        if (text.startsWith('SIP/2.0 200')) done();
        else failed(new Error(text.split('\r\n')[0]));
        return;
      }
      phone.bodies.push(text);
      if (!phone.status) return;
      const same = ['From', 'To', 'Call-ID', 'CSeq'].map((name) => `${name}: ${header(text, name)}`);
      const vias = [...text.matchAll(/^Via:.*$/gim)].map(([via]) => via.trim());
      const answer = [`SIP/2.0 ${phone.status} Said`, ...vias, ...same, 'Content-Length: 0', '', ''];
      socket.send(answer.join('\r\n'), from.port, from.address);
    });
  });
  socket.send(`${request.join('\r\n')}\r\n\r\n`, Number(to), host);
  await granted;
  return phone;
}
