import type { Server } from "node:http";

/**
 * Lets the bodies of objects take their time. Node has one limit for all requests of a server, so it is only raised while such a body is
 * under way; the object service bounds those itself.
 */
export class Uploads {
  readonly #requestMs: number;
  readonly #uploadMs: number;
  #server: Pick<Server, "requestTimeout"> | undefined;
  #underWay = 0;

  constructor(requestMs: number, uploadMs: number) {
    this.#requestMs = requestMs;
    this.#uploadMs = uploadMs;
  }

  serve(server: Pick<Server, "requestTimeout">): void {
    this.#server = server;
  }

  /** Returns what tells that the body has ended, however. */
  begin(): () => void {
    this.#underWay++;
    this.#set(this.#uploadMs);
    return () => {
      if (--this.#underWay === 0) this.#set(this.#requestMs);
    };
  }

  #set(timeoutMs: number): void {
    if (this.#server !== undefined) this.#server.requestTimeout = timeoutMs;
  }
}
