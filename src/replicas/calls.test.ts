import { describe, expect, test } from "vitest";
import { inputText, leafText, outcomeText, voteText } from "../consensus/canonical.ts";
import { sessionId } from "../consensus/client-table.ts";
import type { CertifiedMembership } from "../consensus/membership.ts";
import type { Reply, Request } from "../consensus/messages.ts";
import type { CertifiedAnswer } from "../scheduler/service.ts";
import { cryptoOf, hashText, membersOf, signAs } from "../testing/replica-keys.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { SetCalls } from "./calls.ts";
import { GATHER_MS, MANY_UNDER_WAY } from "./gathering.ts";

const NAME = "bank/apply@1";

/** Calls of a set whose four replicas vote as the test says, and a journal whose commits the test ends. */
class World {
  readonly clock = createStepClock(1_000);
  readonly requests: Request[] = [];
  readonly answers: CertifiedAnswer[] = [];
  /** What waits for the commit that is under way, and for the one after it. */
  #committing: (() => void)[] = [];
  #next: (() => void)[] = [];
  #sequence = 0;
  #session = 0;
  readonly calls = new SetCalls({
    fn: "apply",
    keyOf: () => "",
    clock: this.clock,
    crypto: cryptoOf("client"),
    clientKey: "client",
    nextSession: () => ++this.#session,
    afterCommit: (effect) => this.#next.push(effect),
    send: (index, request) => index === 0 && this.requests.push(request),
    answer: (answer) => this.answers.push(answer),
    accuse: () => {},
    agreed: () => {},
    maxLogBytes: 65_536,
  });

  open(membership: CertifiedMembership = membersOf(1)): this {
    this.calls.open(membership, []);
    this.clock.turns();
    const { body, client, session } = this.last;
    expect(body.t).toBe("session");
    this.certify(sessionId({ client, session }), "");
    return this;
  }

  submit(lease: number, seq = lease): string {
    this.calls.submit({ t: "invoke", lease, fn: "apply", input: "1", run: "run-1" as never, seq, attempt: 1, timeoutMs: 1_000 });
    this.clock.turns();
    return `run-1/${seq}/1`;
  }

  /** Three replicas vote for this outcome. */
  certify(id: string, input = "1", outcome = '{"value":1}'): void {
    const seq = ++this.#sequence;
    const result = {
      id,
      position: 0,
      path: [],
      key: "",
      inputHash: hashText(inputText(input)),
      resultHash: hashText(outcomeText(outcome)),
    };
    const { id: operation, ...rest } = result;
    const root = hashText(leafText(NAME, { operation, version: "1", sequence: seq, ...rest }));
    for (const replica of [0, 1, 2]) {
      const signature = signAs(`r${replica}`, voteText(NAME, 1, 0, seq, root));
      const reply: Reply = { replica, epoch: 1, view: 0, seq, version: "1", root, signature, results: [{ ...result, outcome }] };
      this.calls.heard(replica, reply);
    }
    this.clock.turns();
  }

  /** What was recorded until now is on its way to the disk. */
  beginCommit(): void {
    this.#committing = this.#next;
    this.#next = [];
  }

  endCommit(): void {
    for (const effect of this.#committing.splice(0)) effect();
    this.clock.turns();
  }

  get last(): Request {
    return this.requests.at(-1)!;
  }
}

describe("the calls of a replica set", () => {
  test("let the replicas forget a result only once the commit that has it is on the disk", () => {
    const world = new World().open();
    const first = world.submit(1);
    const second = world.submit(2);
    world.certify(first);
    world.beginCommit();
    // It comes while the commit of the first is under way, and is not in that.
    world.certify(second);
    world.endCommit();
    world.submit(3);
    // The session's own request is number 1, the first call's number 2.
    expect(world.last.settled).toBe(2);
    world.beginCommit();
    world.endCommit();
    world.submit(4);
    expect(world.last.settled).toBe(3);
  });

  test("keep of what a replica says that the function logged no more than of a call's own log", () => {
    const world = new World().open();
    const id = world.submit(1);
    const text = "x".repeat(1_000);
    for (let i = 0; i < 1_000; i++) world.calls.logged(3, id, [{ at: i, level: "info", text }]);
    world.certify(id);
    const [{ lines }] = world.answers as [CertifiedAnswer];
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.reduce((size, line) => size + line.text.length, 0)).toBeLessThan(300_000);
  });

  test("that nobody waits for any more are held up to a bound while nothing can be certified, and keep none that is wanted from its certificate", () => {
    const world = new World().open();
    const ids: string[] = [];
    for (let lease = 1; lease <= 3_000; lease++) {
      ids.push(world.submit(lease));
      world.calls.abort(lease);
    }
    expect(world.calls.underWay).toBe(1_024);
    const wanted = world.submit(9_000);
    const sent = (): string => JSON.stringify(world.requests);
    expect(sent()).not.toContain(wanted);
    for (const id of ids.slice(0, 1_024)) {
      world.certify(id);
      world.beginCommit();
      world.endCommit();
    }
    expect(sent()).toContain(wanted);
    world.certify(wanted);
    expect(world.answers.map(({ lease }) => lease)).toEqual([9_000]);
    expect(world.calls.underWay).toBe(0);
  });

  test("that nobody waits for any more are not submitted to those who come next, and one that is wanted again is", () => {
    const world = new World();
    world.submit(1);
    world.submit(2);
    world.calls.abort(1);
    expect(world.calls.underWay).toBe(1);
    world.open();
    world.calls.abort(2);
    const again = world.submit(3, 2);
    world.submit(4);
    world.calls.abort(4);
    world.calls.close();
    expect(world.calls.underWay).toBe(1);
    world.requests.length = 0;
    world.open();
    const { body } = world.last;
    expect(body.t === "call" && body.operations.map(({ id }) => id)).toEqual([again]);
    world.certify(again);
    expect(world.answers.map(({ lease }) => lease)).toEqual([3]);
  });

  test("wait for one another while many are under way, and leave as one request", () => {
    const world = new World().open();
    for (let lease = 1; lease <= MANY_UNDER_WAY; lease++) world.submit(lease);
    const before = world.requests.length;
    const ids = [1_001, 1_002, 1_003].map((lease) => world.submit(lease));
    expect(world.requests.length).toBe(before);
    world.clock.advance(GATHER_MS);
    const { body } = world.last;
    expect(world.requests.length).toBe(before + 1);
    expect(body.t === "call" && body.operations.map(({ id }) => id)).toEqual(ids);
  });

  test("that waited for others when the set closed go to those who come next", () => {
    const world = new World().open();
    for (let lease = 1; lease <= MANY_UNDER_WAY; lease++) world.submit(lease);
    const waited = world.submit(1_001);
    world.calls.close();
    world.requests.length = 0;
    world.clock.advance(GATHER_MS);
    expect(world.requests).toEqual([]);
    world.open();
    expect(JSON.stringify(world.requests)).toContain(waited);
  });
});
