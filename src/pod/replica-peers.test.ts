import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Membership } from "../consensus/membership.ts";
import type { PeerMessage } from "../consensus/messages.ts";
import { generateSecretKey, nodeCrypto, publicKeyOf } from "../replicas/node-crypto.ts";
import { Meter } from "./replica-meter.ts";
import { ReplicaPeers } from "./replica-peers.ts";

const directory = mkdtempSync(join(tmpdir(), "replica-peers-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Told {
  from: number;
  epoch: number;
  message: PeerMessage;
}

const open: ReplicaPeers[] = [];
afterEach(() => Promise.all(open.splice(0).map((peers) => peers.close())));

let sockets = 0;

/** @param costMs what each message takes to be handled, on a clock that goes by nothing else */
const peer = async (secret = generateSecretKey(), costMs?: number) => {
  let now = 0;
  const key = publicKeyOf(secret);
  const told: Told[] = [];
  const waiting: (() => void)[] = [];
  const peers = new ReplicaPeers(
    { set: "s", key, crypto: nodeCrypto(secret), meter: new Meter(), ...(costMs === undefined ? {} : { now: () => now }) },
    {
      message: (from, epoch, message) => {
        now += costMs ?? 0;
        told.push({ from, epoch, message });
        for (const wake of waiting.splice(0)) wake();
      },
    },
  );
  open.push(peers);
  const address = await peers.listen(join(directory, `${++sockets}.peer`));
  const received = async (count: number): Promise<Told[]> => {
    while (told.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
    return told;
  };
  return { key, secret, peers, address, told, received };
};

type Peer = Awaited<ReturnType<typeof peer>>;

const membership = (members: readonly Peer[], epoch = 1): Membership => ({
  ...{ set: "s", application: "a", function: "f", version: "1", epoch, faults: 1 },
  replicas: members.map(({ key }) => key),
  clients: [],
});

const status = (view: number): PeerMessage => ({ t: "status", view, active: true, stable: 0, committed: 0, executed: 0 });

const say = ({ peers }: Peer, to: number[], view: number, epoch = 1): void => {
  peers.send(epoch, to, JSON.stringify(status(view)));
  peers.flush();
};

const addresses = (members: readonly Peer[]): string[] => members.map(({ address }) => address);

const four = async (): Promise<Peer[]> => Promise.all([peer(), peer(), peer(), peer()]);

describe("connections between replicas", () => {
  test("what is sent before there is a connection arrives, in its order, with who sent it", async () => {
    const all = await four();
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    for (let view = 0; view < 3; view++) say(all[2] as Peer, [0, 3], view);
    expect(await all[0]?.received(3)).toEqual([0, 1, 2].map((view) => ({ from: 2, epoch: 1, message: status(view) })));
    expect(await all[3]?.received(3)).toHaveLength(3);
    expect(all[1]?.told).toEqual([]);
  });

  test("a peer that comes back at another address is connected to again", async () => {
    const all = await four();
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    const [zero, one] = all as [Peer, Peer];
    say(zero, [1], 1);
    await one.received(1);
    await one.peers.close();
    const again = await peer(one.secret);
    again.peers.add(membership(all), addresses(all));
    zero.peers.add(membership(all), ["", again.address]);
    while (again.told.length === 0) {
      say(zero, [1], 2);
      await new Promise(setImmediate);
    }
    expect(again.told[0]).toEqual({ from: 0, epoch: 1, message: status(2) });
  });

  test("whoever is not in the membership is refused, and so is a key that was replaced", async () => {
    const all = await four();
    const stranger = await peer();
    const [zero, one, two, three] = all as [Peer, Peer, Peer, Peer];
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    say(zero, [1], 1);
    await one.received(1);
    // It believes to be replica 0.
    stranger.peers.add(membership([stranger, one, two, three]), addresses(all));
    say(stranger, [1], 7);
    const next = [stranger, one, two, three];
    one.peers.add(membership(next, 2), addresses(next));
    one.peers.begin(2);
    stranger.peers.add(membership(next, 2), addresses(next));
    stranger.peers.begin(2);
    // What is sent on a connection that is just being refused is lost, as anything may be; and who is refused tries again and again.
    while (one.told.length < 500) {
      say(zero, [1], 8);
      say(stranger, [1], 9, 2);
      await new Promise(setImmediate);
    }
    expect(one.told[0]).toEqual({ from: 0, epoch: 1, message: status(1) });
    for (const told of one.told.slice(1)) expect(told).toEqual({ from: 0, epoch: 2, message: status(9) });
  });

  test("what waits for a peer that is away is bounded, and the oldest goes first", async () => {
    const all = await four();
    const [zero, one] = all as [Peer, Peer];
    zero.peers.add(membership(all), []);
    for (let view = 0; view < 10_000; view++) say(zero, [1], view);
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    const told = await one.received(4_096);
    expect(told.at(-1)?.message).toEqual(status(9_999));
    expect(told).toHaveLength(4_096);
  });

  test("a connection that says nothing sensible is closed", async () => {
    const all = await four();
    const [zero] = all as [Peer];
    zero.peers.add(membership(all), []);
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\0\0\0\x04nope", "\0\0\0\x02{}", "\x7f\xff\xff\xff"]) {
      const socket = connect(zero.address);
      socket.on("error", () => {});
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.write(bytes);
      await closed;
    }
  });

  test("a frame that would take many times its size once it is parsed is not parsed, and costs its sender the connection", async () => {
    const all = await four();
    const [zero, one] = all as [Peer, Peer];
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    say(zero, [1], 1);
    await one.received(1);
    zero.peers.send(1, [1], `[${"[],".repeat(600_000)}0]`);
    zero.peers.flush();
    while (one.told.length < 2) {
      say(zero, [1], 2);
      await new Promise(setImmediate);
    }
    expect(one.told[1]?.message).toEqual(status(2));
  });

  test("a frame of one long text arrives, whatever is in it", async () => {
    const all = await four();
    const [zero, one] = all as [Peer, Peer];
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    const data = '\\"[{,'.repeat(2_000_000);
    zero.peers.send(1, [1], JSON.stringify({ t: "page", seq: 1, page: 1, data }));
    zero.peers.flush();
    const [told] = (await one.received(1)) as [Told];
    expect((told.message as PeerMessage & { t: "page" }).data === data).toBe(true);
  });

  test("one whose messages cost too much waits, also when it connects anew, and the others don't", async () => {
    const one = await peer(generateSecretKey(), 60_000);
    const [zero, two, three] = (await Promise.all([peer(), peer(), peer()])) as [Peer, Peer, Peer];
    const all = [zero, one, two, three];
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    say(zero, [1], 1);
    await one.received(1);
    say(zero, [1], 2);
    await zero.peers.close();
    const again = await peer(zero.secret);
    again.peers.add(membership(all), addresses(all));
    say(again, [1, 2], 3);
    await two.received(1);
    say(two, [1], 4);
    expect((await one.received(2)).map(({ from, message }) => [from, message])).toEqual([
      [0, status(1)],
      [2, status(4)],
    ]);
  });

  test("a frame with more messages than are sent together is not handled, and costs its sender the connection", async () => {
    const all = await four();
    const [zero, one] = all as [Peer, Peer];
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    const many = Array.from({ length: 50_000 }, () => JSON.stringify(status(1))).join(",");
    zero.peers.send(1, [1], many);
    zero.peers.flush();
    while (one.told.length < 1) {
      say(zero, [1], 2);
      await new Promise(setImmediate);
    }
    expect(one.told[0]?.message).toEqual(status(2));
  });

  test("a drill cuts a peer off in both directions", async () => {
    const all = await four();
    const [zero, one] = all as [Peer, Peer];
    for (const { peers } of all) peers.add(membership(all), addresses(all));
    zero.peers.cut([1]);
    say(zero, [1], 1);
    say(one, [0], 2);
    say(one, [2], 3);
    await all[2]?.received(1);
    zero.peers.cut([]);
    say(zero, [1], 4);
    say(one, [0], 5);
    expect((await one.received(1))[0]?.message).toEqual(status(4));
    expect((await zero.received(1))[0]?.message).toEqual(status(5));
  });
});
