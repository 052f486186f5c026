import { connect } from "node:net";
import { expect, test } from "vitest";
import { ResponseReader } from "../../bench/lib/http-response.ts";
import { open } from "../../test/support/gateway.ts";
import { Intake } from "./intake.ts";

/** An event loop whose turns a test takes one by one: what arrives is read, then what was asked for at the end of the turn is done. */
class Loop {
  time = 0;
  #soon: (() => void)[] = [];
  #ends: (() => void)[] = [];

  readonly seams = {
    now: () => this.time,
    soon: (callback: () => void) => void this.#soon.push(callback),
    endOfTurn: (callback: () => void) => void this.#ends.push(callback),
  };

  turn(...arrivals: (() => void)[]): void {
    for (const arrival of arrivals) this.#run(arrival);
    const ends = this.#ends;
    this.#ends = [];
    for (const end of ends) this.#run(end);
  }

  #run(callback: () => void): void {
    callback();
    for (let next = this.#soon.shift(); next !== undefined; next = this.#soon.shift()) next();
  }
}

class FakeSocket {
  destroyed = false;
  isPaused = false;
  pauses = 0;

  pause(): void {
    this.isPaused = true;
    this.pauses++;
  }

  resume(): void {
    this.isPaused = false;
  }
}

const request = (n: number, socket = new FakeSocket()) => ({ n, socket, destroyed: false });
type FakeRequest = ReturnType<typeof request>;

/** Each request costs `costMs`, as in the gateway not while its handler runs but after it. */
const intakeOn = (loop: Loop, costMs: number, served: number[]): ((...requests: FakeRequest[]) => () => void) => {
  const work = ({ n }: FakeRequest): void => {
    served.push(n);
    loop.seams.soon(() => {
      loop.time += costMs;
    });
  };
  const intake = new Intake<FakeRequest, undefined>(work, loop.seams);
  return (...requests) =>
    () => {
      for (const each of requests) intake.take(each, undefined);
    };
};

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test("requests that are few are served in the turn in which they come", () => {
  const loop = new Loop();
  const served: number[] = [];
  const arrive = intakeOn(loop, 0.05, served);
  loop.turn(arrive(request(0), request(1)), arrive(request(2)));
  expect(served).toEqual([0, 1, 2]);
});

test("with a flood at the edge, the reply to what was under way leaves before the flood is through", () => {
  const loop = new Loop();
  const seen: string[] = [];
  const served: number[] = [];
  const arrive = intakeOn(loop, 1, served);
  loop.turn(arrive(...numbers(100).map((n) => request(n))));
  const servedBefore = served.length;
  // A pod's frame is read in the second turn; its commit and reply are the end of that turn.
  loop.turn(() => loop.seams.endOfTurn(() => seen.push(`replied after ${served.length}`)));
  for (let turns = 0; served.length < 100 && turns < 1_000; turns++) loop.turn();
  expect(servedBefore).toBeLessThan(10);
  expect(seen).toHaveLength(1);
  expect(Number(seen[0]?.split(" ")[2])).toBeLessThan(20);
  expect(served).toEqual(numbers(100));
});

test("between two slices of a flood the event loop reads what has arrived", () => {
  const loop = new Loop();
  const served: number[] = [];
  const arrive = intakeOn(loop, 1, served);
  loop.turn(arrive(...numbers(50).map((n) => request(n))));
  const read: number[] = [];
  for (let turns = 0; served.length < 50 && turns < 1_000; turns++) loop.turn(() => read.push(served.length));
  const slices = read.map((count, i) => (read[i + 1] ?? 50) - count);
  expect(Math.max(...slices)).toBeLessThan(10);
  expect(read.length).toBeGreaterThan(5);
});

test("who comes during a flood is served after those who came before", () => {
  const loop = new Loop();
  const served: number[] = [];
  const arrive = intakeOn(loop, 1, served);
  loop.turn(arrive(...numbers(20).map((n) => request(n))));
  loop.turn(arrive(request(20)));
  for (let turns = 0; turns < 50; turns++) loop.turn();
  expect(served).toEqual(numbers(21));
});

test("a request that throws does not end the others", () => {
  const loop = new Loop();
  const served: number[] = [];
  const intake = new Intake<FakeRequest, undefined>(({ n }) => {
    if (n === 0) throw new Error("of a handler");
    served.push(n);
  }, loop.seams);
  const arrive = (): void => {
    for (const n of numbers(3)) intake.take(request(n), undefined);
  };
  expect(() => loop.turn(arrive)).toThrow("of a handler");
  loop.turn();
  loop.turn();
  expect(served).toEqual([1, 2]);
});

test("connections that bring more while hundreds wait are not read until half of those were served", () => {
  const loop = new Loop();
  const served: number[] = [];
  const arrive = intakeOn(loop, 1, served);
  const [early, late] = [new FakeSocket(), new FakeSocket()];
  loop.turn(arrive(...numbers(512).map((n) => request(n, early))), arrive(...numbers(100).map((n) => request(512 + n, late))));
  expect([early.isPaused, late.isPaused, late.pauses]).toEqual([false, true, 1]);
  while (late.isPaused) loop.turn();
  expect(612 - served.length).toBeLessThan(256);
  for (let turns = 0; served.length < 612 && turns < 1_000; turns++) loop.turn();
  expect(served).toEqual(numbers(612));
});

test("a request whose client has gone while it waited is not served", () => {
  const loop = new Loop();
  const served: number[] = [];
  const arrive = intakeOn(loop, 1, served);
  const requests = numbers(20).map((n) => request(n));
  loop.turn(arrive(...requests));
  requests[15]!.destroyed = true;
  for (let turns = 0; turns < 50; turns++) loop.turn();
  expect(served).toEqual(numbers(20).filter((n) => n !== 15));
});

test("thousands of requests that come at once over a few connections are all answered, in order", async () => {
  const { gateway, plane } = await open();
  const each = 800;
  const flood = (): Promise<string[]> =>
    new Promise((resolve, reject) => {
      const ids: string[] = [];
      const reader = new ResponseReader((status, body) => {
        if (status !== 202) reject(new Error(`${status} ${body}`));
        ids.push((JSON.parse(body) as { id: string }).id);
        if (ids.length === each) resolve(ids);
      });
      const socket = connect({ host: "127.0.0.1", port: gateway.port });
      socket.on("data", (chunk) => reader.push(chunk));
      socket.once("error", reject);
      const head =
        "POST /v1/functions/pay/calls HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
      socket.write(head.repeat(each));
    });
  const answers = await Promise.all([flood(), flood(), flood()]);
  expect(new Set(answers.flat()).size).toBe(3 * each);
  for (const ids of answers) expect(ids).toEqual([...ids].sort());
  expect(plane.asked.filter(([method]) => method === "start")).toHaveLength(3 * each);
});
