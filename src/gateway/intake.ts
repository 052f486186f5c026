/**
 * Lets requests in: as they come while there are few, and a slice at a time while there are many, so that a flood at the edge doesn't hold up
 * what is under way. The event loop would otherwise read and handle all requests that have arrived, up to thousands, before pods' frames,
 * commits and replies get their turn.
 *
 * Owns: the order of requests that have been read and not handled yet. Does not own: sockets, what a request asks for.
 *
 * Invariants:
 * I1 Requests are served in the order in which they came.
 * I2 After each slice the event loop goes round once before the next: what pods have sent is read, and the turn is committed.
 * I3 While too many wait, connections that bring more are not read.
 */
import { Deque } from "../lib/deque.ts";

/** What is read from: a socket. */
export interface Source {
  pause(): unknown;
  resume(): unknown;
  readonly destroyed: boolean;
}

export interface Arrival {
  readonly socket: Source;
  /** Its client has gone: nobody would hear the answer, nor was one promised. */
  readonly destroyed: boolean;
}

export interface IntakeSeams {
  /** Milliseconds, of any origin. */
  now(): number;
  /** Runs after what the current callback has asked for, before anything else is read. */
  soon(callback: () => void): void;
  /** Runs at the end of this turn of the event loop. */
  endOfTurn(callback: () => void): void;
}

/**
 * Long enough that requests of hundreds of connections still share commits, and short beside what a commit and a pod's answer take: what is
 * under way waits at most this long.
 */
const SLICE_MS = 3;
const MOST_WAITING = 512;

const nodeSeams: IntakeSeams = {
  now: () => performance.now(),
  soon: (callback) => process.nextTick(callback),
  endOfTurn: (callback) => void setImmediate(callback),
};

export class Intake<Request extends Arrival, Response> {
  readonly #serve: (request: Request, response: Response) => void;
  readonly #seams: IntakeSeams;
  readonly #waiting = new Deque<[Request, Response]>();
  readonly #paused = new Set<Source>();
  #sliceEndsAt = 0;
  /** A slice has begun and its turn is not over. */
  #isOpen = false;
  #isPumping = false;

  constructor(serve: (request: Request, response: Response) => void, seams: IntakeSeams = nodeSeams) {
    this.#serve = serve;
    this.#seams = seams;
  }

  readonly take = (request: Request, response: Response): void => {
    this.#waiting.push([request, response]);
    if (this.#waiting.size > MOST_WAITING) this.#pause(request.socket);
    if (!this.#isOpen) this.#open();
    if (!this.#isPumping) this.#pump();
  };

  #open(): void {
    this.#isOpen = true;
    this.#sliceEndsAt = this.#seams.now() + SLICE_MS;
    this.#seams.endOfTurn(this.#close);
  }

  readonly #close = (): void => {
    if (this.#waiting.size === 0) this.#isOpen = false;
    // Not yet: frames of pods are read only between the ends of two turns.
    else this.#seams.endOfTurn(this.#reopen);
  };

  readonly #reopen = (): void => {
    this.#open();
    if (!this.#isPumping) this.#pump();
  };

  /** One at a time: most of a request's work is asked for by its handler and done after it, and has to be seen by the clock as well. */
  #pump(): void {
    this.#isPumping = this.#waiting.size > 0 && this.#seams.now() < this.#sliceEndsAt;
    if (!this.#isPumping) return;
    this.#seams.soon(this.#next);
  }

  readonly #next = (): void => {
    const [request, response] = this.#waiting.shift()!;
    // Asked for before the request is served: one that throws must not end the others.
    this.#pump();
    if (this.#paused.size > 0 && this.#waiting.size < MOST_WAITING / 2) this.#resume();
    if (!request.destroyed) this.#serve(request, response);
  };

  #pause(source: Source): void {
    if (this.#paused.has(source)) return;
    this.#paused.add(source);
    source.pause();
  }

  #resume(): void {
    for (const source of this.#paused) if (!source.destroyed) source.resume();
    this.#paused.clear();
  }
}
