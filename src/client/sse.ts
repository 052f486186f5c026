/** One message of a stream of server-sent events. */
export interface StreamMessage {
  id: string;
  event: string;
  data: string;
}

/** Splits a stream of server-sent events, given piece by piece, into its messages. Comments and unfinished messages are dropped. */
export class StreamReader {
  #rest = "";
  #id = "";
  #event = "";
  #data: string[] = [];
  /** The id up to which all messages were given out; one whose message is unfinished does not count yet. */
  seen = "";

  /** The messages that `text` completes. */
  push(text: string): StreamMessage[] {
    const messages: StreamMessage[] = [];
    // A lone \r at the end may be half of \r\n, so it waits for what follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() as string;
    for (const line of lines) {
      if (line !== "") {
        this.#field(line);
        continue;
      }
      this.seen = this.#id;
      if (this.#data.length > 0) messages.push(this.#message());
      else this.#event = "";
    }
    return messages;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
  }

  #message(): StreamMessage {
    const message = { id: this.#id, event: this.#event, data: this.#data.join("\n") };
    this.#event = "";
    this.#data = [];
    return message;
  }
}
