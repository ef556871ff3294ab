// Talks to an echo behind websocket: as Node's ws does, and prints what came of it.
//     node client.js URL [CA-FILE]
const fs = require("fs");
const { once } = require("events");
const { WebSocket } = require("ws");

const [url, authority] = process.argv.slice(2);
const tls = authority ? { ca: fs.readFileSync(authority), servername: "localhost" } : {};

function connect(options = {}) {
  const socket = new WebSocket(url, { ...tls, ...options });
  socket.binaryType = "nodebuffer";
  socket.on("error", () => {});
  return socket;
}

// The echo is a stream: where its messages end says nothing.
async function collect(socket, length) {
  const pieces = [];
  let size = 0;
  while (size < length) {
    const [data] = await once(socket, "message");
    pieces.push(data);
    size += data.length;
  }
  return Buffer.concat(pieces);
}

async function echo(socket, data) {
  socket.send(data);
  return (await collect(socket, Buffer.byteLength(data))).equals(Buffer.from(data));
}

const CONVERSATIONS = {
  async sizes() {
    const socket = connect();
    await once(socket, "open");
    const results = [];
    for (const size of [1, 125, 126, 65535, 65536, 1000000]) {
      results.push(await echo(socket, Buffer.alloc(size, "0123456789")));
    }
    socket.close();
    const [code] = await once(socket, "close");
    return [...results, code];
  },
  async text() {
    const socket = connect();
    await once(socket, "open");
    const result = await echo(socket, "aß水𝄞");
    socket.close(4000, "bye");
    const [code] = await once(socket, "close");
    return [result, code];
  },
  async fragments() {
    const socket = connect();
    await once(socket, "open");
    socket.send("one ", { fin: false });
    socket.ping("between");
    socket.send("two ", { fin: false });
    socket.send("three");
    const [[pong], data] = await Promise.all([once(socket, "pong"), collect(socket, 13)]);
    socket.close();
    await once(socket, "close");
    return [pong.toString(), data.toString()];
  },
  async compressed() {
    const socket = connect({ perMessageDeflate: true });
    await once(socket, "open");
    const results = [socket.extensions];
    for (const size of [1, 5000, 5000, 1000000]) {
      results.push(await echo(socket, Buffer.alloc(size, "compress this")));
    }
    socket.close();
    await once(socket, "close");
    return results;
  },
  async tooLarge() {
    const socket = connect();
    await once(socket, "open");
    socket.send(Buffer.alloc(1048577));
    const [code, reason] = await once(socket, "close");
    return [code, reason.toString()];
  },
  async origin() {
    const socket = connect({ origin: "https://evil.example" });
    const [, response] = await once(socket, "unexpected-response");
    response.resume();
    return [response.statusCode];
  },
  async many() {
    const sockets = Array.from({ length: 50 }, () => connect());
    await Promise.all(sockets.map((socket) => once(socket, "open")));
    const results = await Promise.all(sockets.map((socket) => echo(socket, "hello")));
    sockets.forEach((socket) => socket.terminate());
    return [results.every(Boolean)];
  },
};

async function main() {
  const results = {};
  for (const [name, converse] of Object.entries(CONVERSATIONS)) {
    results[name] = await converse();
  }
  console.log(JSON.stringify(results));
  // The last waits for the server to go away.
  const socket = connect();
  await once(socket, "open");
  console.log("waiting");
  const [code] = await once(socket, "close");
  console.log(JSON.stringify({ goingAway: [code] }));
}

main();
