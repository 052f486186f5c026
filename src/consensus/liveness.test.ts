import { describe, expect, test } from "vitest";
import { certify, cryptoOf, hashText, signAs } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { checkpointText, requestText, stateText } from "./canonical.ts";
import { Replica } from "./machine.ts";
import type { PeerMessage, Request } from "./messages.ts";

const viewsOf = (set: ReplicaSet): number[] => set.members.filter(({ down }) => !down).map(({ replica }) => replica.inspect().view);

const names = (request: Request, id: string): boolean =>
  request.body.t === "call" && request.body.operations.some((each) => each.id === id);

const cutOff =
  (name: string, passes: (message: PeerMessage) => boolean = () => false) =>
  (from: string, to: string, message: PeerMessage): PeerMessage[] =>
    (from === name || to === name) && !passes(message) ? [] : [message];

const whole = (_from: string, _to: string, message: PeerMessage): PeerMessage[] => [message];

describe("a request that no leader has to order", () => {
  test("because its client has begun anew, is no reason to suspect one", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filterRequests = (to, request) => (names(request, "old") && (to === "r0" || to === "r1") ? undefined : request);
    set.submit("old");
    set.run(5);
    set.filter = whole;
    set.newClient(2);
    set.certifyAll("b");
    set.run(5_000);
    expect(viewsOf(set)).toEqual([0, 0, 0, 0]);
    expect(set.evidence()).toEqual([]);
  });

  test("because its client belongs to an earlier epoch, is no reason to suspect one", () => {
    const set = new ReplicaSet();
    const { membership } = set.certified;
    const enter = (epoch: number, clients: string[]): void => {
      const next = certify({ ...membership, epoch, clients });
      set.tell({ t: "reconfigure", next });
      set.runUntil(() => set.clientEffects.some((effect) => effect.t === "reconfigured" && effect.epoch === epoch));
      set.tell({ t: "epoch", membership: next });
    };
    enter(2, ["client", "gone"]);
    const unsigned = { client: "gone", session: 1, number: 1, settled: 0, body: { t: "session", keep: [] } } as const;
    const request: Request = {
      ...unsigned,
      body: { t: "session", keep: [] },
      signature: signAs("gone", requestText({ ...unsigned, body: { t: "session", keep: [] } }, membership.set)),
    };
    for (const index of [2, 3]) set.give(index, { t: "request", request });
    expect(set.at(2).replica.inspect().held.pending).toBe(1);
    enter(3, ["client"]);
    set.certifyAll("a");
    set.run(5_000);
    expect(viewsOf(set)).toEqual([0, 0, 0, 0]);
    expect(set.evidence()).toEqual([]);
    expect(set.at(2).replica.inspect().held.pending).toBe(0);
  });
});

describe("a leader that starves one request", () => {
  test("is found out, though the window is full again and again", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 2 } });
    set.certifyAll("a");
    set.filterRequests = (to, request) => (to === "r0" && names(request, "starved") ? undefined : request);
    // Votes on checkpoints take longer than a few numbers.
    set.filter = (from, to, message) => {
      if (message.t !== "checkpoint") return [message];
      const sender = set.members.find(({ name }) => name === from)!;
      const receiver = set.members.find(({ name }) => name === to)!;
      set.after(30, () => set.give(receiver.index, { t: "message", from: sender.index, epoch: 1, message }));
      return [];
    };
    set.submit("starved");
    let i = 0;
    const tookMs = set.runUntil(() => {
      if (i % 8 === 0) set.submit(`other/${i}`);
      i++;
      return set.certificates.has("starved");
    }, 10_000);

    expect(tookMs).toBeLessThan(1_500);
  });
});

describe("a replica that lags", () => {
  test("fetches the state, though the others' checkpoints follow each other quickly", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 8 } });
    set.certifyAll("a");
    const state = new Set<PeerMessage["t"]>(["checkpoint", "checkpoint-proof", "fetch-checkpoint", "fetch-page", "page"]);
    set.filter = (from, to, message) => (to === "r3" && !state.has(message.t) ? [] : whole(from, to, message));
    const begin = set.now;
    for (let i = 0; set.now - begin < 2_000; i++) set.certifyAll(`b/${i}`);
    expect(set.at(3).notices.filter(({ t }) => t === "transferred").length).toBeGreaterThan(0);
    expect(set.at(3).replica.inspect().executed).toBeGreaterThan(100);
  });

  test("takes part in the view's numbers that were beyond its window, once it has the state", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 8 } });
    set.filter = cutOff("r3");
    for (let i = 0; i < 18; i++) set.certifyAll(`a/${i}`);
    set.filter = (from, to, message) => (message.t === "commit" ? [] : cutOff("r3")(from, to, message));
    set.submit("b");
    set.run(20);
    // The leader does nothing any more but give pages, and the state comes after the new view.
    set.filter = (from, to, message) => {
      if (from === "r0" && message.t !== "page") return [];
      return to === "r3" && message.t === "checkpoint-proof" && set.at(3).replica.inspect().view === 0 ? [] : [message];
    };
    set.runUntil(() => set.certificates.has("b"));
    expect(viewsOf(set).slice(1)).toEqual([1, 1, 1]);
  });

  test("does not wait long for those who never give a page", () => {
    const set = new ReplicaSet({ faults: 2, limits: { checkpointEvery: 8 } });
    set.filter = cutOff("r6");
    const ids = Array.from({ length: 120 }, (_, i) => `page/${i}`);
    set.tell({ t: "submit", operations: ids.map((id) => ({ id, key: id, input: JSON.stringify(id) })) });
    set.runUntil(() => ids.every((id) => set.certificates.has(id)));
    for (let i = 0; i < 40; i++) set.certifyAll(`a/${i}`);
    set.filter = (from, _to, message) => ((from === "r0" || from === "r1") && message.t === "page" ? [] : [message]);
    const tookMs = set.runUntil(() => set.at(6).notices.some(({ t }) => t === "transferred"), 30_000);
    expect(tookMs).toBeLessThan(4_000);
  });
});

describe("a replica that is replaced while it runs", () => {
  test("shows the others how its epoch has ended: they needn't wait until somebody asks", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const { membership } = set.certified;
    const next = certify({ ...membership, epoch: 2, replicas: ["r0", "r1", "r2", "new"] });
    set.filter = (_from, to, message) => (to === "r1" && message.t === "checkpoint" ? [] : [message]);
    set.tell({ t: "reconfigure", next });
    expect(set.runUntil(() => set.at(1).replica.inspect().epoch === 2)).toBeLessThan(50);
    expect(set.at(3).notices).toContainEqual({ t: "retired", epoch: 2 });
  });
});

describe("a set that was founded again", () => {
  test("is not led back to the state of an earlier epoch", () => {
    const first = certify({ ...new ReplicaSet().certified.membership, epoch: 1 });
    const { set } = first.membership;
    const certified = certify({ ...first.membership, epoch: 2, replicas: ["s0", "s1", "s2", "s3"] });
    const replica = new Replica({ membership: certified, index: 1, admin: "admin", isFounding: true }, cryptoOf("s1"));
    replica.start(0);
    const pages = [hashText("a page")];
    const digest = hashText(stateText(set, 1_000, pages));
    const votes = ["r0", "r1", "r2"].map((name, i) => ({ replica: i, signature: signAs(name, checkpointText(set, 1, 1_000, digest)) }));
    const stable = { epoch: 1, seq: 1_000, digest, votes };
    const message: PeerMessage = { t: "checkpoint-proof", stable, pages, membership: first, next: certified };
    replica.step({ t: "message", from: 0, epoch: 2, message }, 1);
    replica.step({ t: "timer", timer: "status" }, 500);
    expect(replica.inspect().transferring).toBe(false);
  });
});
