import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:http";

export interface ServerSentEvent {
  id?: string;
  event?: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events whose shape they are about to check
  data?: any;
}

/** A client of an event stream that keeps all that it has received. */
export class EventReader {
  readonly response: IncomingMessage;
  text = "";
  ended = false;

  private constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      this.text += chunk;
    });
    response.on("error", () => undefined);
    response.on("close", () => {
      this.ended = true;
    });
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventReader> {
    const [response] = (await once(get(url, { agent: false, headers }), "response")) as [IncomingMessage];
    return new EventReader(response);
  }

  get frames(): ServerSentEvent[] {
    const blocks = this.text.split("\n\n").slice(0, -1);
    return blocks.map(frameOf);
  }

  /** The events, without comments and mere ids. */
  get events(): ServerSentEvent[] {
    return this.frames.filter(({ data }) => data !== undefined);
  }

  get ids(): number[] {
    return this.events.map(({ id }) => Number(id));
  }

  /** Waits until so many events have come. */
  async until(count: number): Promise<void> {
    while (this.events.length < count) await once(this.response, "data", { signal: AbortSignal.timeout(4_000) });
  }

  /** Waits for a text. */
  async untilText(part: string): Promise<void> {
    while (!this.text.includes(part)) await once(this.response, "data", { signal: AbortSignal.timeout(4_000) });
  }

  /** Waits for the end of the connection, orderly or not. */
  async untilEnded(): Promise<void> {
    if (!this.ended) await new Promise<void>((resolve) => this.response.once("close", resolve));
  }

  close(): void {
    this.response.destroy();
  }
}

const frameOf = (block: string): ServerSentEvent => {
  const frame: ServerSentEvent = {};
  for (const line of block.split("\n")) {
    const [, field, value] = /^(id|event|data): (.*)$/.exec(line) ?? [];
    if (field === "data") frame.data = JSON.parse(value as string);
    else if (field !== undefined) frame[field as "id" | "event"] = value as string;
  }
  return frame;
};
