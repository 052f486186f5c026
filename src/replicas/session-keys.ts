/**
 * Session keys between two replicas (TOCS 2002, §3.2.1): an exchange of ephemeral X25519 keys that both sign with their identity, and from it
 * one HMAC-SHA256 key for each direction.
 *
 * Owns: that a frame is taken only from the replica that the membership names, in this set and epoch, on this connection, once and in its
 * place. Does not own: sockets, framing, how often one may try, secrecy (frames are authentic and can be read by whoever is on the line).
 *
 * Invariants: nothing is taken before the other end's signature over both ephemeral keys has been checked; a frame has exactly one place in
 * its direction, so that one which is repeated, left out, moved or reflected is refused; an old key is forgotten when it is replaced.
 */
import type { KeyObject } from "node:crypto";
import {
  createHash,
  createHmac,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  timingSafeEqual,
} from "node:crypto";
import type { Crypto, PublicKey, Signature } from "../consensus/crypto.ts";
import type { ReplicaIndex } from "../consensus/membership.ts";

/** The three messages of a handshake: the dialling end's `hello`, the other's `welcome`, and the `confirm` that ends it. */
export type HandshakeMessage =
  | { t: "hello"; set: string; epoch: number; from: ReplicaIndex; to: ReplicaIndex; ephemeral: string }
  | { t: "welcome"; ephemeral: string; signature: Signature }
  | { t: "confirm"; signature: Signature };

export interface HandshakeOptions {
  set: string;
  epoch: number;
  /** The identities of this epoch's replicas, by index. */
  replicas: readonly PublicKey[];
  self: ReplicaIndex;
  crypto: Pick<Crypto, "sign" | "verify">;
  /** Unix or monotonic ms; keys are replaced by it. */
  now: () => number;
  rotation?: Partial<Rotation>;
}

/** When a direction's key is replaced by the next, and when the connection must be made anew. */
export interface Rotation {
  /** Frames under one key. Default 65,536. */
  frames: number;
  /** How long one key is used by its sender. Default 60,000. */
  keyMs: number;
  /** After this time nothing is sealed or opened any more: a new handshake brings keys that no old one leads to. Default 3,600,000. */
  sessionMs: number;
}

/** What came of a message: an answer to send, the session once it is there, or why the connection must be closed. */
export type HandshakeStep = { reply?: HandshakeMessage; session?: PeerSession } | { refused: string };

const DEFAULT_ROTATION: Rotation = { frames: 65_536, keyMs: 60_000, sessionMs: 3_600_000 };

const KEY_BYTES = 32;
const MAC_BYTES = 32;
/** The key's generation (32 bits), then the frame's number in its direction (48 bits). */
const HEADER_BYTES = 10;
const X25519_SPKI = Buffer.from("302a300506032b656e032100", "hex");

/** How many bytes a sealed frame is longer than what it holds. */
export const SEAL_BYTES = HEADER_BYTES + MAC_BYTES;

interface Ephemeral {
  publicKey: string;
  privateKey: KeyObject;
}

const newEphemeral = (): Ephemeral => {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  return { publicKey: publicKey.export({ format: "der", type: "spki" }).subarray(-KEY_BYTES).toString("base64url"), privateKey };
};

/** `undefined` for what is no canonical key, and for the points of small order, with which anyone would know the secret. */
const sharedSecret = (own: Ephemeral, other: unknown): Buffer | undefined => {
  if (typeof other !== "string" || other.length !== 43) return undefined;
  const raw = Buffer.from(other, "base64url");
  if (raw.length !== KEY_BYTES || raw.toString("base64url") !== other) return undefined;
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([X25519_SPKI, raw]), format: "der", type: "spki" });
    return diffieHellman({ privateKey: own.privateKey, publicKey });
  } catch {
    // OpenSSL refuses an all-zero secret.
    return undefined;
  }
};

interface Exchange {
  set: string;
  epoch: number;
  dialler: ReplicaIndex;
  listener: ReplicaIndex;
  dialled: string;
  listened: string;
}

/** What an end signs. Its role is part of it, so that its own words can't be sent back to it as the other's. */
const transcript = (role: "welcome" | "confirm", { set, epoch, dialler, listener, dialled, listened }: Exchange): string =>
  JSON.stringify([`lockstep/peer-${role}/1`, set, epoch, dialler, listener, dialled, listened]);

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** One end of a handshake: made for one connection, and used once. */
export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #ephemeral = newEphemeral();
  /** Whom this end dials; the other end learns it from the `hello`. */
  readonly #peer: ReplicaIndex | undefined;
  #exchange: Exchange | undefined;
  #secret: Buffer | undefined;
  #ended = false;

  /** With `peer` this end dials, and begins with `hello()`; without, it waits for one. */
  constructor(options: HandshakeOptions, peer?: ReplicaIndex) {
    if (peer !== undefined && !isOther(options, peer)) throw new RangeError(`replica ${peer} is no peer of replica ${options.self}`);
    this.#options = options;
    this.#peer = peer;
  }

  /** @throws {Error} at the end that waits */
  hello(): HandshakeMessage {
    if (this.#peer === undefined) throw new Error("only the end that dials says hello");
    const { set, epoch, self } = this.#options;
    return { t: "hello", set, epoch, from: self, to: this.#peer, ephemeral: this.#ephemeral.publicKey };
  }

  /** Takes whatever the other end has sent. After a refusal or the session, everything is refused. */
  receive(message: unknown): HandshakeStep {
    if (this.#ended) return { refused: "the handshake has ended" };
    const step = this.#take(message);
    this.#ended = "refused" in step || step.session !== undefined;
    if (this.#ended) this.#secret = undefined;
    return step;
  }

  #take(message: unknown): HandshakeStep {
    if (!isObject(message)) return { refused: "no handshake message" };
    if (this.#peer !== undefined) return this.#welcomed(this.#peer, message);
    return this.#exchange === undefined ? this.#greeted(message) : this.#confirmed(this.#exchange, message);
  }

  #greeted(message: Record<string, unknown>): HandshakeStep {
    const { set, epoch, self, crypto } = this.#options;
    if (message.t !== "hello") return { refused: "expected a hello" };
    if (message.set !== set) return { refused: "the hello is for another set" };
    if (message.epoch !== epoch) return { refused: `the hello is of epoch ${String(message.epoch)}, this replica is in epoch ${epoch}` };
    if (message.to !== self) return { refused: "the hello is for another replica" };
    if (!isOther(this.#options, message.from)) return { refused: "the hello is from nobody of this set" };
    this.#secret = sharedSecret(this.#ephemeral, message.ephemeral);
    if (this.#secret === undefined) return { refused: "the hello's ephemeral key is invalid" };
    const dialled = message.ephemeral as string;
    this.#exchange = { set, epoch, dialler: message.from, listener: self, dialled, listened: this.#ephemeral.publicKey };
    const signature = crypto.sign(transcript("welcome", this.#exchange));
    return { reply: { t: "welcome", ephemeral: this.#ephemeral.publicKey, signature } };
  }

  #welcomed(peer: ReplicaIndex, message: Record<string, unknown>): HandshakeStep {
    const { set, epoch, self, crypto } = this.#options;
    if (message.t !== "welcome") return { refused: "expected a welcome" };
    const secret = sharedSecret(this.#ephemeral, message.ephemeral);
    if (secret === undefined) return { refused: "the welcome's ephemeral key is invalid" };
    const listened = message.ephemeral as string;
    const exchange = { set, epoch, dialler: self, listener: peer, dialled: this.#ephemeral.publicKey, listened };
    if (!this.#hasSigned(peer, transcript("welcome", exchange), message.signature))
      return { refused: "the welcome's signature is invalid" };
    const signature = crypto.sign(transcript("confirm", exchange));
    return { reply: { t: "confirm", signature }, session: this.#session(exchange, peer, secret) };
  }

  #confirmed(exchange: Exchange, message: Record<string, unknown>): HandshakeStep {
    if (message.t !== "confirm") return { refused: "expected a confirm" };
    if (!this.#hasSigned(exchange.dialler, transcript("confirm", exchange), message.signature)) {
      return { refused: "the confirm's signature is invalid" };
    }
    return { session: this.#session(exchange, exchange.dialler, this.#secret!) };
  }

  #hasSigned(peer: ReplicaIndex, text: string, signature: unknown): boolean {
    const { crypto, replicas } = this.#options;
    return typeof signature === "string" && crypto.verify(replicas[peer]!, text, signature);
  }

  #session(exchange: Exchange, peer: ReplicaIndex, secret: Buffer): PeerSession {
    const salt = createHash("sha256").update(transcript("confirm", exchange)).digest();
    const keyOf = (direction: string): KeyObject =>
      createSecretKey(Buffer.from(hkdfSync("sha256", secret, salt, `lockstep/peer/${direction}/1`, KEY_BYTES)));
    const [out, back] = [keyOf("dialler-to-listener"), keyOf("listener-to-dialler")];
    const { epoch, now, rotation } = this.#options;
    const dials = exchange.dialler !== peer;
    return new PeerSession({ peer, epoch, sending: dials ? out : back, receiving: dials ? back : out, now, rotation });
  }
}

const isOther = ({ self, replicas }: HandshakeOptions, index: unknown): index is ReplicaIndex =>
  Number.isInteger(index) && index !== self && (index as number) >= 0 && (index as number) < replicas.length;

interface SessionOptions {
  peer: ReplicaIndex;
  epoch: number;
  sending: KeyObject;
  receiving: KeyObject;
  now: () => number;
  rotation?: Partial<Rotation> | undefined;
}

/** An authenticated connection with one peer, for frames that arrive in the order in which they were sent. */
export class PeerSession {
  readonly peer: ReplicaIndex;
  readonly epoch: number;
  readonly #now: () => number;
  readonly #rotation: Rotation;
  readonly #sending: Direction;
  readonly #receiving: Direction;
  readonly #endsAt: number;
  #keySince: number;
  #sealedByKey = 0;

  constructor({ peer, epoch, sending, receiving, now, rotation }: SessionOptions) {
    this.peer = peer;
    this.epoch = epoch;
    this.#now = now;
    this.#rotation = { ...DEFAULT_ROTATION, ...rotation };
    this.#sending = { key: sending, generation: 0, next: 0 };
    this.#receiving = { key: receiving, generation: 0, next: 0 };
    this.#keySince = now();
    this.#endsAt = this.#keySince + this.#rotation.sessionMs;
  }

  /** The connection must be made anew: `seal` throws, `open` takes nothing. */
  get expired(): boolean {
    return this.#now() >= this.#endsAt;
  }

  /**
   * @param headroom bytes left free before the sealed frame, for whoever frames it
   * @throws {Error} when the session has expired
   */
  seal(bytes: Uint8Array, headroom = 0): Buffer {
    const now = this.#now();
    if (now >= this.#endsAt) throw new Error("the session's keys have expired: connect anew");
    if (this.#sealedByKey >= this.#rotation.frames || now - this.#keySince >= this.#rotation.keyMs) this.#replaceKey(now);
    this.#sealedByKey += 1;
    const whole = Buffer.allocUnsafe(headroom + bytes.length + SEAL_BYTES);
    const frame = headroom === 0 ? whole : whole.subarray(headroom);
    frame.writeUInt32BE(this.#sending.generation, 0);
    frame.writeUIntBE(this.#sending.next++, 4, 6);
    frame.set(bytes, HEADER_BYTES);
    const end = HEADER_BYTES + bytes.length;
    macOf(this.#sending.key, frame.subarray(0, end)).copy(frame, end);
    return whole;
  }

  /** What the peer has sealed, without a copy; `undefined` for anything else: the connection can't be trusted then, and must be closed. */
  open(frame: Uint8Array): Buffer | undefined {
    const at = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    const end = at.length - MAC_BYTES;
    if (end < HEADER_BYTES || this.expired) return undefined;
    const expected = this.#receiving;
    const generation = at.readUInt32BE(0);
    // A sender goes on to the next key, and to no other; which one it is counts only once its MAC has been checked.
    if (at.readUIntBE(4, 6) !== expected.next || (generation !== expected.generation && generation !== expected.generation + 1))
      return undefined;
    const key = generation === expected.generation ? expected.key : nextKey(expected.key);
    if (!timingSafeEqual(macOf(key, at.subarray(0, end)), at.subarray(end))) return undefined;
    expected.key = key;
    expected.generation = generation;
    expected.next += 1;
    return at.subarray(HEADER_BYTES, end);
  }

  #replaceKey(now: number): void {
    this.#sending.key = nextKey(this.#sending.key);
    this.#sending.generation += 1;
    this.#sealedByKey = 0;
    this.#keySince = now;
  }
}

interface Direction {
  /** A key object: an HMAC by raw bytes takes four times as long. */
  key: KeyObject;
  generation: number;
  /** The number of the next frame. It goes on when the key is replaced. */
  next: number;
}

const macOf = (key: KeyObject, bytes: Uint8Array): Buffer => createHmac("sha256", key).update(bytes).digest();

/** One way: who learns a key doesn't learn those before it. */
const nextKey = (key: KeyObject): KeyObject => createSecretKey(macOf(key, Buffer.from("lockstep/peer/next-key/1")));
