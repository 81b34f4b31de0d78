import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type TcpProxy, tcpProxy } from "./tcp-proxy.ts";
import { endsWithin, waitFor } from "./wait.ts";

const server = createServer((socket) => socket.on("error", () => undefined).on("data", (bytes) => socket.write(bytes)));
let proxy: TcpProxy;

beforeEach(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  proxy = await tcpProxy({ target: `redis://user:secret@127.0.0.1:${port}/3` });
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await new Promise((resolve) => server.close(resolve));
});

async function client(): Promise<Socket> {
  const socket = connect(proxy.port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

async function echo(socket: Socket, text: string): Promise<string> {
  const [bytes] = await Promise.all([once(socket, "data"), socket.write(text)]);
  return String(bytes[0]);
}

test("has the target's URL with a port of its own", () => {
  expect(proxy.url).toBe(`redis://user:secret@127.0.0.1:${proxy.port}/3`);
});

test("passes bytes, and resets open connections on cut", async () => {
  const socket = await client();
  expect(await echo(socket, "hello")).toBe("hello");
  const closed = once(socket, "error");
  expect(proxy.cut()).toBe(1);
  expect((await closed)[0]).toMatchObject({ code: "ECONNRESET" });
  const again = await client();
  expect(await echo(again, "again")).toBe("again");
  again.destroy();
});

test("a stalled connection stays open and silent, and is reset on resume since it lost bytes", async () => {
  const socket = await client();
  expect(await echo(socket, "a")).toBe("a");
  proxy.stall();
  socket.write("lost");
  expect(await endsWithin(once(socket, "data"), 50)).toBe(false);
  expect(socket.destroyed).toBe(false);
  const reset = once(socket, "error");
  proxy.resume();
  expect((await reset)[0]).toMatchObject({ code: "ECONNRESET" });
  const again = await client();
  expect(await echo(again, "back")).toBe("back");
  again.destroy();
});

test("behind a stalled connection nobody hears that the other side has closed, until it is resumed", async () => {
  const [[served], socket] = await Promise.all([once(server, "connection"), client()]);
  const reset = once(socket, "error");
  proxy.stall();
  const closed = once(served, "close");
  served.destroy();
  await closed;
  expect(await endsWithin(reset, 50)).toBe(false);
  proxy.resume();
  expect((await reset)[0]).toMatchObject({ code: "ECONNRESET" });
});

test("refuses new connections and leaves the old ones alone", async () => {
  const old = await client();
  proxy.refuse();
  const refused = connect(proxy.port, "127.0.0.1");
  await once(refused, "error");
  expect(await echo(old, "still here")).toBe("still here");
  old.destroy();
  await waitFor(() => proxy.connections === 0);
});
