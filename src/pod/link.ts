import { connect, type Socket } from "node:net";
import { FrameDecoder, FrameEncoder } from "../lib/frames.ts";

/** A pod's connection to the control plane: what is sent in one turn of the event loop leaves in one frame. */
export class Link<Incoming, Outgoing> {
  readonly #socket: Socket;
  readonly #encoder = new FrameEncoder<Outgoing>();
  readonly #decoder = new FrameDecoder<Incoming>();
  #outbox: Outgoing[] = [];
  #beforeFlush: (() => void) | undefined;
  #scheduled = false;

  /** @param address a socket's path, or `host:port` */
  constructor(address: string, handlers: { open(): void; messages(batch: Incoming[]): void; closed(): void; beforeFlush?(): void }) {
    const tcp = /^(.+):(\d+)$/.exec(address);
    this.#socket = tcp === null ? connect(address) : connect({ host: tcp[1] as string, port: Number(tcp[2]), noDelay: true });
    this.#beforeFlush = handlers.beforeFlush;
    this.#socket.once("connect", () => handlers.open());
    this.#socket.on("data", (chunk: Buffer) => handlers.messages(this.#decoder.push(chunk)));
    // "close" follows every error, so the error itself only needs a listener that keeps it from being thrown.
    this.#socket.on("error", () => {});
    this.#socket.once("close", () => handlers.closed());
  }

  /** Where this end of the connection is; undefined on a socket of this machine. */
  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  send(message: Outgoing): void {
    this.#outbox.push(message);
    this.schedule();
  }

  /** Makes sure that a flush happens at the end of this turn. */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#beforeFlush?.();
      this.flush();
    });
  }

  flush(): void {
    if (this.#outbox.length === 0) return;
    const batch = this.#outbox;
    this.#outbox = [];
    const [header, body] = this.#encoder.encode(batch);
    this.#socket.cork();
    this.#socket.write(header);
    this.#socket.write(body);
    this.#socket.uncork();
  }
}
