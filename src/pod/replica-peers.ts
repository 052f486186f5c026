/**
 * A replica's connections with the others of its set.
 *
 * Owns: the listener, one connection for each peer (of two replicas the one with the lower index dials), what waits to be sent, and which epoch
 * an index is of. Does not own: the protocol, retransmission, keys.
 *
 * P1  A connection belongs to a public key that has proven itself, and to no address. It lives as long as the key is in a membership that is
 *     not over: with the beginning of an epoch those of the replaced replicas are closed, and they can't connect again.
 * P2  Each frame says the epoch that its sender is in. Its `from` is the index of the connection's key in that epoch's membership.
 * P3  What waits is bounded for each peer, and the oldest is dropped: whoever misses it is told again (TOCS 2002, §5.2).
 * P4  What a peer may cost, in bytes and in the time that its messages take, is bounded by its key: f of them leave the others a quarter of the
 *     time, whatever they send and however often they connect.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Crypto, PublicKey } from "../consensus/crypto.ts";
import type { Membership, ReplicaIndex } from "../consensus/membership.ts";
import type { PeerMessage } from "../consensus/messages.ts";
import type { HandshakeOptions } from "../replicas/session-keys.ts";
import { parsed, ReplicaConnection } from "./replica-connection.ts";
import { Intake, MAX_PEER_FRAME_BYTES } from "./replica-intake.ts";
import type { Meter } from "./replica-meter.ts";

export interface PeersOptions {
  set: string;
  key: PublicKey;
  crypto: Pick<Crypto, "sign" | "verify">;
  meter: Meter;
  /** In ms. Default: this process's clock. */
  now?: () => number;
}

export interface PeersListener {
  message(from: ReplicaIndex, epoch: number, message: PeerMessage): void;
}

/** Connections that have not shown yet whose they are. */
const MOST_STRANGERS = 32;
const RETRY_MS = { least: 20, most: 1_000 };
/** What waits for one peer. */
const MOST_WAITING = 4_096;
const MOST_WAITING_CHARACTERS = 32 * 1024 * 1024;
/** A frame is closed once it has so many characters. */
const FRAME_CHARACTERS = 1024 * 1024;
/** More than one message: the longest characters take three bytes. */
const TOGETHER_BYTES = 3 * FRAME_CHARACTERS + 64;
/** While so much of what was sent has not left yet, the rest waits here, where the oldest can be dropped. */
const BACKLOG_BYTES = 4 * 1024 * 1024;
const LOOK_AGAIN_MS = 5;
/** How many epochs a replica may lag and still be understood. */
const KNOWN_EPOCHS = 4;

interface Peer {
  readonly key: PublicKey;
  /** In the newest membership that has it. */
  index: ReplicaIndex;
  epoch: number;
  address: string;
  connection: ReplicaConnection | undefined;
  readonly intake: Intake;
  isDialling: boolean;
  retryMs: number;
  retry: NodeJS.Timeout | undefined;
  /** JSON of messages, each with the epoch that it was sent in. */
  waiting: { epoch: number; text: string }[];
  characters: number;
  dropped: number;
}

export class ReplicaPeers {
  readonly #options: PeersOptions;
  readonly #on: PeersListener;
  readonly #now: () => number;
  /** By epoch; of those that are over the last few, for replicas that lag. */
  readonly #memberships = new Map<number, Membership>();
  #epoch = 0;
  readonly #addresses = new Map<PublicKey, string>();
  readonly #peers = new Map<PublicKey, Peer>();
  readonly #strangers = new Set<ReplicaConnection>();
  #server: Server | undefined;
  #again: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isCutOff: (index: ReplicaIndex) => boolean = () => false;

  constructor(options: PeersOptions, on: PeersListener) {
    this.#options = options;
    this.#on = on;
    this.#now = options.now ?? (() => performance.now());
  }

  /** @param at a socket's path, or `host:port`, with port 0 for any. Resolves to where it listens. */
  async listen(at: string): Promise<string> {
    const tcp = /^(.+):(\d+)$/.exec(at);
    const server = createServer({ noDelay: true }, (socket) => this.#greet(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      if (tcp === null) server.listen(at, () => resolve());
      else server.listen(Number(tcp[2]), tcp[1], () => resolve());
    });
    const address = server.address();
    return tcp === null || address === null || typeof address === "string" ? at : `${tcp[1]}:${address.port}`;
  }

  /** Knows this membership from now on; `addresses` by index, empty where there is none yet. */
  add(membership: Membership, addresses: readonly string[]): void {
    this.#memberships.set(membership.epoch, membership);
    for (const [index, key] of membership.replicas.entries()) {
      const address = addresses[index];
      if (address !== undefined && address !== "") this.#addresses.set(key, address);
    }
    this.#arrange();
  }

  /** This epoch has begun: those before it are over. */
  begin(epoch: number): void {
    this.#epoch = epoch;
    for (const old of this.#memberships.keys()) if (old + KNOWN_EPOCHS < epoch) this.#memberships.delete(old);
    this.#arrange();
  }

  /** For drills: neither hears these nor reaches them; absent: all. */
  cut(peers: readonly ReplicaIndex[] | undefined): void {
    this.#isCutOff = (index) => peers === undefined || peers.includes(index);
  }

  /** @param text the message's JSON, made once for all that it goes to */
  send(epoch: number, to: readonly ReplicaIndex[], text: string): void {
    for (const index of to) this.#send(epoch, index, text);
  }

  #send(epoch: number, to: ReplicaIndex, text: string): void {
    const key = this.#memberships.get(epoch)?.replicas[to];
    const peer = key === undefined ? undefined : this.#peers.get(key);
    if (peer === undefined || this.#isCutOff(to) || text.length > MAX_PEER_FRAME_BYTES / 3) return;
    peer.waiting.push({ epoch, text });
    peer.characters += text.length;
    while (peer.waiting.length > MOST_WAITING || peer.characters > MOST_WAITING_CHARACTERS) {
      peer.characters -= peer.waiting.shift()?.text.length ?? 0;
      peer.dropped++;
    }
  }

  /** Sends what waits: to each peer one frame, if it isn't large. */
  flush(): void {
    for (const peer of this.#peers.values()) if (peer.waiting.length > 0) this.#flush(peer);
  }

  get connected(): ReplicaIndex[] {
    return [...this.#peers.values()].filter(({ connection }) => connection !== undefined).map(({ index }) => index);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#again);
    for (const peer of this.#peers.values()) this.#drop(peer);
    for (const stranger of this.#strangers) stranger.close("the replica ends");
    await new Promise<void>((resolve) => (this.#server === undefined ? resolve() : this.#server.close(() => resolve())));
  }

  #flush(peer: Peer): void {
    const { connection } = peer;
    if (connection === undefined) return;
    while (peer.waiting.length > 0) {
      if (connection.backlogBytes > BACKLOG_BYTES) return this.#flushAgain();
      this.#options.meter.counts.frames++;
      connection.send(Buffer.from(this.#frame(peer)));
    }
  }

  /** `[epoch,message,message…]`, of one epoch. */
  #frame(peer: Peer): string {
    const epoch = peer.waiting[0]?.epoch as number;
    let frame = `[${epoch}`;
    let count = 0;
    for (const each of peer.waiting) {
      if (each.epoch !== epoch || (count > 0 && frame.length + each.text.length > FRAME_CHARACTERS)) break;
      frame += `,${each.text}`;
      peer.characters -= each.text.length;
      count++;
    }
    if (count === peer.waiting.length) peer.waiting = [];
    else peer.waiting.splice(0, count);
    return `${frame}]`;
  }

  #flushAgain(): void {
    this.#again ??= setTimeout(() => {
      this.#again = undefined;
      this.flush();
    }, LOOK_AGAIN_MS);
  }

  get #faults(): number {
    return Math.max(0, ...[...this.#memberships.values()].map(({ faults }) => faults));
  }

  /** Brings the peers in line with the memberships that are not over. */
  #arrange(): void {
    const members = new Map<PublicKey, { index: ReplicaIndex; epoch: number }>();
    const memberships = [...this.#memberships.values()].filter(({ epoch }) => epoch >= this.#epoch);
    for (const { epoch, replicas } of memberships.sort((a, b) => a.epoch - b.epoch)) {
      for (const [index, key] of replicas.entries()) if (key !== this.#options.key) members.set(key, { index, epoch });
    }
    for (const [key, peer] of this.#peers) {
      if (members.has(key)) continue;
      this.#drop(peer);
      this.#peers.delete(key);
    }
    for (const [key, { index, epoch }] of members) this.#place(key, index, epoch);
    for (const key of this.#addresses.keys()) if (!members.has(key)) this.#addresses.delete(key);
  }

  #place(key: PublicKey, index: ReplicaIndex, epoch: number): void {
    const address = this.#addresses.get(key) ?? "";
    const known = this.#peers.get(key);
    const peer = known ?? {
      ...{ key, index, epoch, address, connection: undefined, isDialling: false, retryMs: RETRY_MS.least },
      ...{ retry: undefined, waiting: [], characters: 0, dropped: 0, intake: new Intake(this.#faults, this.#now()) },
    };
    peer.index = index;
    peer.epoch = epoch;
    if (peer.address !== address) peer.retryMs = RETRY_MS.least;
    peer.address = address;
    this.#peers.set(key, peer);
    this.#dial(peer);
  }

  #drop(peer: Peer): void {
    clearTimeout(peer.retry);
    peer.connection?.close("the replica is no member any more");
    peer.connection = undefined;
  }

  #dial(peer: Peer): void {
    const options = this.#optionsOf(peer.epoch);
    if (this.#isClosed || options === undefined || peer.isDialling || peer.connection !== undefined || peer.address === "") return;
    if (this.#peers.get(peer.key) !== peer || options.self > peer.index) return;
    clearTimeout(peer.retry);
    peer.isDialling = true;
    const tcp = /^(.+):(\d+)$/.exec(peer.address);
    const socket = tcp === null ? connect(peer.address) : connect({ host: tcp[1] as string, port: Number(tcp[2]), noDelay: true });
    new ReplicaConnection(socket, this.#listener(peer), { options, peer: peer.index });
  }

  #greet(socket: Socket): void {
    if (this.#isClosed || this.#strangers.size >= MOST_STRANGERS) return void socket.destroy();
    this.#strangers.add(new ReplicaConnection(socket, this.#listener(undefined)));
  }

  #listener(dialled: Peer | undefined) {
    return {
      optionsOf: (epoch: number) => this.#optionsOf(epoch),
      opened: (connection: ReplicaConnection) => this.#opened(connection, dialled),
      frame: (connection: ReplicaConnection, bytes: Buffer) => this.#take(connection, bytes),
      closed: (connection: ReplicaConnection) => this.#closed(connection, dialled),
      now: this.#now,
    };
  }

  #optionsOf(epoch: number): HandshakeOptions | undefined {
    const membership = this.#memberships.get(epoch);
    const { set, key, crypto } = this.#options;
    const self = membership?.replicas.indexOf(key) ?? -1;
    if (membership === undefined || self < 0) return undefined;
    return { set, epoch, replicas: membership.replicas, self, crypto, now: this.#now };
  }

  #opened(connection: ReplicaConnection, dialled: Peer | undefined): Intake | undefined {
    this.#strangers.delete(connection);
    const peer = this.#peers.get(connection.key ?? "");
    if (peer === undefined || (dialled !== undefined && peer !== dialled)) {
      connection.close("the replica is no member any more");
      return undefined;
    }
    // The peer has begun anew, and its old connection has not been noticed to be dead.
    const old = peer.connection;
    peer.connection = connection;
    peer.isDialling = false;
    peer.retryMs = RETRY_MS.least;
    if (old !== undefined) old.close("the peer has connected anew");
    this.#flush(peer);
    return peer.intake;
  }

  #closed(connection: ReplicaConnection, dialled: Peer | undefined): void {
    this.#strangers.delete(connection);
    const peer = dialled ?? this.#peers.get(connection.key ?? "");
    if (peer === undefined) return;
    if (dialled !== undefined) peer.isDialling = false;
    if (peer.connection !== undefined && peer.connection !== connection) return;
    peer.connection = undefined;
    if (this.#isClosed) return;
    clearTimeout(peer.retry);
    peer.retry = setTimeout(() => this.#dial(peer), peer.retryMs);
    peer.retryMs = Math.min(RETRY_MS.most, peer.retryMs * 2);
  }

  #take(connection: ReplicaConnection, bytes: Buffer): void {
    const [epoch, ...messages] = this.#options.meter.time("receiveMs", () => frameOf(bytes));
    // Of an epoch whose membership has not come yet, or is forgotten: what matters in it is said again.
    const membership = typeof epoch === "number" ? this.#memberships.get(epoch) : undefined;
    const from = membership?.replicas.indexOf(connection.key as string) ?? -1;
    if (from < 0 || this.#isCutOff(from)) return;
    // Each may be work: what comes at once is handled at once, and nothing else is meanwhile.
    if (messages.length > 1 && bytes.length > TOGETHER_BYTES) return connection.close("a frame has more messages than are sent together");
    // Their shape is checked by the machine.
    for (const message of messages) this.#on.message(from, epoch as number, message as PeerMessage);
  }
}

const frameOf = (bytes: Buffer): unknown[] => {
  const frame = parsed(bytes);
  return Array.isArray(frame) ? (frame as unknown[]) : [];
};
