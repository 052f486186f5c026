/**
 * One connection between two replicas: the handshake, then sealed frames.
 *
 * Owns: the socket, the session, the bounds of what an unknown end may make us hold. Does not own: who may connect (the peers decide by the
 * epoch that a `hello` names), what frames mean.
 */
import type { Socket } from "node:net";
import { Handshake, type HandshakeMessage, type HandshakeOptions, type PeerSession, SEAL_BYTES } from "../replicas/session-keys.ts";
import { FrameReader, framed, HEADER_BYTES } from "./replica-frames.ts";
import { hasAtMost, type Intake, MAX_PEER_FRAME_BYTES } from "./replica-intake.ts";

/** Of a handshake's messages. */
const GREETING_BYTES = 2_048;
const HANDSHAKE_MS = 3_000;
/** Of one frame's JSON. Frames that can't have more than this are not counted. */
const MOST_VALUES = 1_048_576;

export interface ConnectionListener {
  /** The options of the epoch that a `hello` names; undefined when it is not known, or over. */
  optionsOf(epoch: number): HandshakeOptions | undefined;
  /** @returns what the peer may still cost; `undefined` when the connection was closed instead */
  opened(connection: ReplicaConnection): Intake | undefined;
  frame(connection: ReplicaConnection, bytes: Buffer): void;
  closed(connection: ReplicaConnection, reason: string): void;
  /** In ms. */
  now(): number;
}

export class ReplicaConnection {
  readonly #socket: Socket;
  readonly #on: ConnectionListener;
  readonly #reader = new FrameReader(GREETING_BYTES);
  readonly #deadline: NodeJS.Timeout;
  #intake: Intake | undefined;
  #isResting = false;
  #handshake: Handshake | undefined;
  #reason = "the connection closed";
  session: PeerSession | undefined;
  /** The peer's public key, once it is proven. */
  key: string | undefined;
  #options: HandshakeOptions | undefined;

  /** @param dial whom this end has connected to, and as whom; absent at the end that was connected to */
  constructor(socket: Socket, on: ConnectionListener, dial?: { options: HandshakeOptions; peer: number }) {
    this.#socket = socket;
    this.#on = on;
    this.#deadline = setTimeout(() => this.close("the handshake took too long"), HANDSHAKE_MS);
    this.#deadline.unref();
    // Errors end in "close".
    socket.on("error", (error) => {
      this.#reason = error.message;
    });
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.once("close", () => {
      clearTimeout(this.#deadline);
      this.#on.closed(this, this.#reason);
    });
    if (dial === undefined) return;
    this.#options = dial.options;
    const handshake = new Handshake(dial.options, dial.peer);
    this.#handshake = handshake;
    this.#say(handshake.hello());
  }

  /** How much of what was sent has not left yet. */
  get backlogBytes(): number {
    return this.#socket.writableLength;
  }

  /** Sends one sealed frame; not before the session is there. */
  send(bytes: Uint8Array): void {
    if (this.session === undefined || this.#socket.destroyed) return;
    if (this.session.expired) return this.close("the session has expired");
    this.#socket.write(framed(this.session.seal(bytes, HEADER_BYTES)));
  }

  close(reason: string): void {
    this.#reason = reason;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#reader.push(chunk);
    this.#handle(chunk.length);
  }

  #handle(bytes: number): void {
    const startedAt = this.#on.now();
    // One by one: behind the last frame of a handshake there may be one that only the session allows to be so large.
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) this.#take(frame);
    this.#charge(bytes, this.#on.now() - startedAt);
  }

  #charge(bytes: number, ms: number): void {
    const restMs = this.#intake?.take(bytes, ms, this.#on.now()) ?? 0;
    if (restMs === 0 || this.#isResting || this.#socket.destroyed) return;
    this.#isResting = true;
    this.#socket.pause();
    setTimeout(() => this.#goOn(), restMs).unref();
  }

  /** What came meanwhile waits with whoever has sent it. */
  #goOn(): void {
    this.#isResting = false;
    this.#handle(0);
    if (!this.#isResting) this.#socket.resume();
  }

  #next(): Buffer | undefined {
    if (this.#isResting || this.#socket.destroyed) return undefined;
    try {
      return this.#reader.next();
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  #take(frame: Buffer): void {
    if (this.session === undefined) return this.#shake(parsed(frame));
    const bytes = this.session.open(frame);
    if (bytes === undefined) return this.close("a frame was not sealed by the peer");
    if (bytes.length > MOST_VALUES && !hasAtMost(MOST_VALUES, bytes)) return this.close("a frame has more values than any message");
    this.#on.frame(this, bytes);
  }

  #shake(message: unknown): void {
    const handshake = this.#handshake ?? this.#greeted(message);
    if (handshake === undefined) return this.close("the hello is of no epoch that this replica knows");
    const step = handshake.receive(message);
    if ("refused" in step) return this.close(step.refused);
    if (step.reply !== undefined) this.#say(step.reply);
    if (step.session === undefined) return;
    clearTimeout(this.#deadline);
    this.session = step.session;
    this.key = this.#options?.replicas[step.session.peer];
    this.#reader.limit = MAX_PEER_FRAME_BYTES + SEAL_BYTES;
    this.#intake = this.#on.opened(this);
    // It may have cost too much by an earlier connection.
    this.#charge(0, 0);
  }

  #greeted(message: unknown): Handshake | undefined {
    const epoch = (message as { epoch?: unknown } | null)?.epoch;
    this.#options = typeof epoch === "number" ? this.#on.optionsOf(epoch) : undefined;
    if (this.#options !== undefined) this.#handshake = new Handshake(this.#options);
    return this.#handshake;
  }

  #say(message: HandshakeMessage): void {
    this.#socket.write(framed(Buffer.from(`${" ".repeat(HEADER_BYTES)}${JSON.stringify(message)}`)));
  }
}

/** `undefined` for what is no JSON. */
export const parsed = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    // Whoever sent it is told nothing; the caller closes the connection.
    return undefined;
  }
};
