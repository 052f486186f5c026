import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeControlPlane } from "../../test/support/fake-control-plane.ts";
import { ManualClock } from "../../test/support/manual-clock.ts";
import type { EventBody, PlatformEvent } from "../protocol/events.ts";
import { EventStreams } from "./event-streams.ts";

const accepted: EventBody = { type: "run.accepted", run: "run_00000000007", kind: "function", name: "pay" };
const audited: EventBody = { type: "platform.audited", checked: 5, repaired: 0 };

/** A response whose client reads when the test says so. */
class Socket extends EventEmitter {
  text = "";
  isFull = false;
  state: "open" | "ended" | "destroyed" = "open";

  write(text: string): boolean {
    if (this.state !== "open") throw new Error("written after the end");
    this.text += text;
    return !this.isFull;
  }

  drain(): void {
    this.isFull = false;
    this.emit("drain");
  }

  end(): void {
    this.state = "ended";
    this.emit("close");
  }

  destroy(): void {
    this.state = "destroyed";
    this.emit("close");
  }

  get ids(): number[] {
    return [...this.text.matchAll(/^id: (\d+)\nevent/gm)].map(([, id]) => Number(id));
  }
}

/** A plane whose journal answers when the test says so. */
class SlowPlane extends FakeControlPlane {
  readonly #pending: (() => void)[] = [];

  override async events(position: number, limit: number): Promise<PlatformEvent[]> {
    const page = await super.events(position, Math.min(limit, 3));
    await new Promise<void>((resolve) => this.#pending.push(resolve));
    return page;
  }

  get reading(): number {
    return this.#pending.length;
  }

  async answer(): Promise<void> {
    this.#pending.shift()?.();
    await new Promise(setImmediate);
  }
}

const setUp = (plane = new FakeControlPlane()) => {
  const clock = new ManualClock();
  const defects: unknown[] = [];
  const onDefect = (error: unknown) => void defects.push(error);
  const streams = new EventStreams(plane, { clock, maxStreams: 3, heartbeatMs: 15_000, stallMs: 10_000, onDefect });
  const connect = (after: number | "latest" = 0, types?: ReadonlySet<string>, isFull = false): Socket => {
    const socket = new Socket();
    socket.isFull = isFull;
    streams.open(socket as unknown as ServerResponse, types === undefined ? { after } : { after, types });
    return socket;
  };
  return { plane, clock, streams, connect, defects };
};

type Action = { t: "emit"; count: number } | { t: "answer" | "fill" | "drain" };

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ t: fc.constant("emit" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ t: fc.constantFrom("answer" as const, "answer" as const, "fill" as const, "drain" as const) }) },
);

const emit = (plane: FakeControlPlane, count: number): void => {
  if (count > 0) plane.emit(...Array.from({ length: count }, (_, i) => (i % 2 === 0 ? accepted : audited)));
};

const perform = async (action: Action, plane: SlowPlane, socket: Socket): Promise<void> => {
  if (action.t === "emit") emit(plane, action.count);
  else if (action.t === "answer") await plane.answer();
  else if (action.t === "fill") socket.isFull = true;
  else socket.drain();
};

const turn = () => new Promise(setImmediate);

describe("a stream", () => {
  test("shows every event once and in order, whatever the order in which commits, reads and the client's pace come", async () => {
    const scenario = fc.record({
      before: fc.nat(6),
      after: fc.oneof(fc.nat(8), fc.constant("latest" as const)),
      actions: fc.array(action, { maxLength: 25 }),
      isFiltered: fc.boolean(),
      isFull: fc.boolean(),
    });
    const property = fc.asyncProperty(scenario, async ({ before, after, actions, isFiltered, isFull }) => {
      const plane = new SlowPlane();
      const { connect } = setUp(plane);
      emit(plane, before);
      const socket = connect(after, isFiltered ? new Set(["run.accepted"]) : undefined, isFull);
      for (const action of actions) await perform(action, plane, socket);
      for (let i = 0; i < 60; i++) {
        socket.drain();
        await plane.answer();
      }
      expect(plane.reading).toBe(0);
      const last = after === "latest" ? before : after;
      const wanted = plane.all.filter(({ position, type }) => position > last && (!isFiltered || type === "run.accepted"));
      expect(socket.ids).toEqual(wanted.map(({ position }) => position));
    });
    await fc.assert(property, { numRuns: 300 });
  });

  test("goes from the journal to the commits once it has been read to its end", async () => {
    const { plane, connect } = setUp();
    plane.emit(accepted, audited);
    const socket = connect();
    await turn();
    plane.emit(accepted);
    expect(socket.ids).toEqual([1, 2, 3]);
    expect(plane.asked).toEqual([
      ["events", 0, 500],
      ["events", 2, 500],
    ]);
  });

  test("that begins with the latest shows nothing older and reads nothing", async () => {
    const { plane, connect } = setUp();
    plane.emit(accepted, audited);
    const socket = connect("latest");
    await turn();
    plane.emit(audited);
    expect(socket.ids).toEqual([3]);
    expect(plane.asked).toEqual([]);
  });

  test("reads the journal when commits have passed it by", async () => {
    const { plane, connect } = setUp();
    const socket = connect();
    await turn();
    const listeners = [...plane.listeners];
    plane.listeners.clear();
    plane.emit(accepted, accepted);
    for (const listener of listeners) plane.listeners.add(listener);
    plane.emit(audited);
    await turn();
    expect(socket.ids).toEqual([1, 2, 3]);
  });

  test("holds nothing for a client that does not read, and ends it in time", async () => {
    const { plane, connect, clock } = setUp();
    const socket = connect();
    await turn();
    socket.isFull = true;
    plane.emit(accepted);
    const held = socket.text.length;
    for (let i = 0; i < 1_000; i++) plane.emit(accepted);
    clock.advance(9_999);
    expect([socket.text.length, socket.state]).toEqual([held, "open"]);
    clock.advance(1);
    expect(socket.state).toBe("destroyed");
    expect(plane.listeners.size).toBe(0);
  });

  test("of a client that reads slowly goes on from where that is", async () => {
    const { plane, connect, clock } = setUp();
    const socket = connect();
    await turn();
    socket.isFull = true;
    plane.emit(accepted);
    for (let i = 0; i < 1_200; i++) plane.emit(accepted);
    clock.advance(9_000);
    socket.drain();
    for (let i = 0; i < 5; i++) await turn();
    expect(socket.ids).toEqual(Array.from({ length: 1_201 }, (_, i) => i + 1));
    clock.advance(10_000);
    expect(socket.state).toBe("open");
  });

  test("beats while nothing happens, with the place where it stands", async () => {
    const { plane, connect, clock } = setUp();
    const filtered = connect(0, new Set(["run.accepted"]));
    const latest = connect("latest");
    plane.emit(audited);
    await turn();
    clock.advance(30_000);
    expect(filtered.text).toBe(": connected\nid: 0\n\n: heartbeat\nid: 1\n\n: heartbeat\nid: 1\n\n");
    expect(latest.text.endsWith(": heartbeat\nid: 1\n\n")).toBe(true);
  });

  test("ends when the journal cannot be read", async () => {
    const { plane, connect, defects } = setUp();
    plane.failing.events = new Error("disk");
    const socket = connect();
    await turn();
    expect([socket.state, defects]).toEqual(["ended", [plane.failing.events]]);
  });

  test("that has ended while the journal was read is not written to", async () => {
    const plane = new SlowPlane();
    plane.emit(accepted);
    const { connect } = setUp(plane);
    const socket = connect();
    socket.destroy();
    await plane.answer();
    expect(socket.ids).toEqual([]);
  });
});

describe("streams", () => {
  test("cost nothing while there are none", async () => {
    const { plane, connect, clock, streams } = setUp();
    expect([plane.listeners.size, clock.armed]).toEqual([0, 0]);
    const sockets = [connect(), connect()];
    expect([plane.listeners.size, clock.armed, streams.size]).toEqual([1, 1, 2]);
    for (const socket of sockets) socket.destroy();
    expect([plane.listeners.size, clock.armed, streams.size]).toEqual([0, 0, 0]);
    connect();
    expect([plane.listeners.size, clock.armed, streams.size]).toEqual([1, 1, 1]);
  });

  test("are limited in number", () => {
    const { connect, streams } = setUp();
    const sockets = [connect(), connect(), connect()];
    expect(() => streams.admit()).toThrow(expect.objectContaining({ code: "OVERLOADED" }));
    sockets[0]?.destroy();
    expect(() => streams.admit()).not.toThrow();
  });

  test("all end with the platform", () => {
    const { connect, streams, clock, plane } = setUp();
    const sockets = [connect(), connect("latest")];
    streams.endAll();
    expect(sockets.map(({ state }) => state)).toEqual(["ended", "ended"]);
    expect([plane.listeners.size, clock.armed, streams.size]).toEqual([0, 0, 0]);
  });
});
