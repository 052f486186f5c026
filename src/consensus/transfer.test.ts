import { describe, expect, test } from "vitest";
import { certify, hashText, signAs } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { checkpointText, stateText } from "./canonical.ts";
import type { ViewChange } from "./messages.ts";

const LIMITS = { checkpointEvery: 8 };

const certifyMany = (set: ReplicaSet, prefix: string, count: number): void => {
  for (let i = 0; i < count; i++) set.certifyAll(`${prefix}/${i}`);
};

const statesOf = (set: ReplicaSet): string[] => set.members.filter(({ down }) => !down).map(({ worker }) => worker.pages().join());

const whole = (set: ReplicaSet): void => {
  expect(new Set(statesOf(set)).size).toBe(1);
  const executed = set.members.filter(({ down }) => !down).map(({ replica }) => replica.inspect().executed);
  expect(new Set(executed).size).toBe(1);
};

describe("a replica that was cut off", () => {
  test("for a few numbers learns what the others have decided from the log", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filter = (from, to, message) => (from === "r3" || to === "r3" ? [] : [message]);
    certifyMany(set, "b", 5);
    set.filter = (_from, _to, message) => [message];
    set.run(3_000);
    whole(set);
    expect(set.at(3).notices.some(({ t }) => t === "transferring")).toBe(false);
  });

  test("for longer than the log reaches fetches a checkpoint, and votes again", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    set.certifyAll("a");
    set.filter = (from, to, message) => (from === "r3" || to === "r3" ? [] : [message]);
    certifyMany(set, "b", 40);
    set.filter = (_from, _to, message) => [message];
    set.run(3_000);
    whole(set);
    expect(set.at(3).notices.some(({ t }) => t === "transferred")).toBe(true);
    set.at(1).down = true;
    set.certifyAll("c");
    expect(set.certificates.get("c")!.certificate.votes.map(({ replica }) => replica)).toEqual([0, 2, 3]);
  });

  test("goes by no page that was tampered with, and names who has sent it", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    set.certifyAll("a");
    set.filter = (from, to, message) => (from === "r3" || to === "r3" ? [] : [message]);
    certifyMany(set, "b", 40);
    set.filter = (from, _to, message) => (from === "r0" && message.t === "page" ? [{ ...message, data: `${message.data} ` }] : [message]);
    set.run(3_000);
    whole(set);
    const found = set.evidence().filter(({ kind }) => kind === "bad-page");
    expect(found.length).toBeGreaterThan(0);
    expect(found.every(({ about }) => about === 0)).toBe(true);
  });

  test("goes by no proof whose signatures are not those of 2f + 1 members", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    set.certifyAll("a");
    const pages = ["e".repeat(64)];
    const digest = hashText(stateText("bank/apply@1", 8, pages));
    const forged = [0, 1, 2].map((replica) => ({ replica, signature: "forged" }));
    const own = signAs("r0", checkpointText("bank/apply@1", 1, 8, digest));
    const repeated = [0, 0, 0].map((replica) => ({ replica, signature: own }));
    for (const votes of [[], forged, repeated]) {
      const stable = { epoch: 1, seq: 8, digest, votes };
      set.give(3, { t: "message", from: 0, epoch: 1, message: { t: "checkpoint-proof", stable, pages } });
    }
    set.run(500);
    expect(set.at(3).notices.some(({ t }) => t === "transferring")).toBe(false);
    set.certifyAll("b");
    whole(set);
  });

  test("gets its pages though the peers go on to later checkpoints meanwhile", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    set.certifyAll("a");
    set.filter = (from, to, message) => (from === "r3" || to === "r3" ? [] : [message]);
    certifyMany(set, "b", 40);
    let lost = 0;
    set.filter = (_from, to, message) => (to === "r3" && message.t === "page" && lost++ < 12 ? [] : [message]);
    for (let i = 0; i < 40; i++) {
      set.certifyAll(`c/${i}`);
      set.run(50);
    }
    set.run(3_000);
    whole(set);
  });
});

describe("a replica whose state has gone wrong", () => {
  test("is named by its signed vote, fetches the right state, and is correct again", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    certifyMany(set, "a", 4);
    set.at(2).worker.corrupt("k");
    certifyMany(set, "b", 20);
    set.run(1_000);
    whole(set);
    const found = set.evidence().filter(({ kind }) => kind === "wrong-checkpoint");
    expect(found.some(({ about, proof }) => about === 2 && proof?.length === 2)).toBe(true);
    expect(found.every(({ about }) => about === 2)).toBe(true);
  });
});

describe("a replica that comes back with its records", () => {
  test("has everything again that it had promised", () => {
    const set = new ReplicaSet({ durable: true, limits: LIMITS });
    certifyMany(set, "a", 5);
    set.at(2).down = true;
    certifyMany(set, "b", 2);
    set.restart(set.at(2));
    set.run(3_000);
    whole(set);
    certifyMany(set, "c", 20);
    set.at(2).down = true;
    certifyMany(set, "d", 20);
    set.restart(set.at(2));
    set.run(3_000);
    whole(set);
  });

  test("and without its snapshots has its state from the others", () => {
    const set = new ReplicaSet({ durable: true, limits: LIMITS });
    certifyMany(set, "a", 21);
    set.at(2).disk.clear();
    set.restart(set.at(2));
    certifyMany(set, "b", 3);
    set.run(3_000);
    whole(set);
    expect(set.at(2).notices.some(({ t }) => t === "transferred")).toBe(true);
  });

  test("and all others with it goes on from the last checkpoint on their disks", () => {
    const set = new ReplicaSet({ durable: true, limits: LIMITS });
    certifyMany(set, "a", 21);
    for (const member of set.members) member.down = true;
    set.run(100);
    for (const member of set.members) set.restart(member);
    set.certifyAll("b");
    set.run(1_000);
    whole(set);
    expect(set.certificates.get("b")!.outcome).toBe('{"value":22}');
    for (const { notices } of set.members) expect(notices.some(({ t }) => t === "transferred")).toBe(false);
  });

  test("in a later epoch belongs to that epoch again", () => {
    const set = new ReplicaSet({ durable: true, limits: LIMITS });
    certifyMany(set, "a", 5);
    const { membership } = set.certified;
    const next = certify({ ...membership, epoch: 2, replicas: ["r0", "r1", "r2", "new"] });
    set.tell({ t: "reconfigure", next });
    set.run(500);
    set.join("new", 3, next);
    set.tell({ t: "epoch", membership: next });
    certifyMany(set, "b", 13);
    set.run(2_000);
    for (const member of set.members) if (!member.down || member.name === "new") set.restart(member);
    set.certifyAll("c");
    set.run(3_000);
    whole(set);
    expect(set.certificates.get("c")!.outcome).toBe('{"value":19}');
    for (const { replica, down } of set.members) if (!down) expect(replica.inspect().epoch).toBe(2);
  });

  test("and all others with it loses nothing before the first checkpoint", () => {
    const set = new ReplicaSet({ durable: true });
    certifyMany(set, "a", 5);
    for (const member of set.members) member.down = true;
    set.run(100);
    for (const member of set.members) set.restart(member);
    set.certifyAll("b");
    set.run(1_000);
    whole(set);
    expect(set.certificates.get("b")!.outcome).toBe('{"value":6}');
  });

  test("as the leader gives no number to a second batch", () => {
    const set = new ReplicaSet({ durable: true });
    set.certifyAll("a");
    // Its proposal has reached one replica only.
    set.filter = (from, to, message) => (from === "r0" && to !== "r3" && message.t === "pre-prepare" ? [] : [message]);
    set.submit("b");
    set.run(20);
    set.at(0).down = true;
    set.filter = (_from, _to, message) => [message];
    set.restart(set.at(0));
    set.runUntil(() => set.certificates.has("b"));
    set.certifyAll("c");
    set.run(500);
    whole(set);
    expect(set.evidence().filter(({ kind }) => kind === "equivocation")).toEqual([]);
    expect(set.at(1).replica.inspect().view).toBe(0);
  });

  test("says in its next view change all that it had prepared and pre-prepared", () => {
    const set = new ReplicaSet({ durable: true });
    set.certifyAll("a");
    // Of the next number it has prepared, and of the one after only pre-prepared.
    set.filter = (_from, _to, message) => (message.t === "commit" || (message.t === "prepare" && message.seq === 4) ? [] : [message]);
    set.submit("b");
    set.run(5);
    set.submit("c");
    set.run(5);
    const member = set.at(2);
    set.restart(member);
    member.effects.length = 0;
    set.at(0).down = true;
    const said = (): ViewChange | undefined => {
      const changes = member.effects.flatMap((effect) =>
        effect.t === "send" && effect.message.t === "view-change" ? [effect.message] : [],
      );
      return changes[0]?.viewChange;
    };
    set.runUntil(() => said() !== undefined);
    set.filter = (_from, _to, message) => [message];
    set.runUntil(() => set.certificates.has("b") && set.certificates.has("c"));
    expect(said()!.prepared.map(({ seq }) => seq)).toEqual([1, 2, 3]);
    expect(said()!.preprepared.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
  });
});

describe("a change of the members", () => {
  const replaced = (set: ReplicaSet, index: number, epoch: number) => {
    const { membership } = set.certified;
    const before = set.members.findLast((member) => member.index === 0)!.options.membership.membership;
    const replicas = (epoch === 2 ? membership : before).replicas.map((key, i) => (i === index ? `new${epoch}-${i}` : key));
    return certify({ ...membership, epoch, replicas });
  };

  const reconfigure = (set: ReplicaSet, next: ReturnType<typeof certify>): void => {
    set.tell({ t: "reconfigure", next });
    set.runUntil(() => set.clientEffects.some((effect) => effect.t === "reconfigured" && effect.epoch === next.membership.epoch));
  };

  test("puts a newcomer in a crashed replica's place, with the state, and the set is whole again", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    certifyMany(set, "a", 10);
    set.at(3).down = true;
    const next = replaced(set, 3, 2);
    const newcomer = set.join("new2-3", 3, next);
    reconfigure(set, next);
    set.tell({ t: "epoch", membership: next });
    certifyMany(set, "b", 20);
    set.run(3_000);
    whole(set);
    expect(newcomer.replica.inspect()).toMatchObject({ epoch: 2, transferring: false });
    set.at(1).down = true;
    set.certifyAll("c");
    const { certificate } = set.certificates.get("c")!;
    expect(certificate.membership).toEqual(next);
    expect(certificate.votes.map(({ replica }) => replica)).toEqual([0, 2, 3]);
  });

  test("is carried on though all are killed with no more on their disks than the checkpoint at which it begins", () => {
    const set = new ReplicaSet({ durable: true, limits: LIMITS });
    certifyMany(set, "a", 3);
    const next = replaced(set, 3, 2);
    reconfigure(set, next);
    set.run(200);
    for (const member of set.members.slice(0, 3)) {
      member.records.length = member.records.findLastIndex(({ t }) => t === "stable") + 1;
      set.restart(member);
    }
    set.join("new2-3", 3, next);
    set.tell({ t: "epoch", membership: next });
    set.certifyAll("b");
    set.run(3_000);
    whole(set);
    for (const { replica, down } of set.members) if (!down) expect(replica.inspect().epoch).toBe(2);
  });

  test("that replaces the leader goes on under one who was a member before", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    certifyMany(set, "a", 3);
    const next = replaced(set, 0, 2);
    set.join("new2-0", 0, next);
    set.tell({ t: "reconfigure", next });
    set.run(2_000);
    set.tell({ t: "epoch", membership: next });
    set.certifyAll("b");
    set.run(3_000);
    whole(set);
    for (const { replica, down } of set.members) if (!down) expect(replica.inspect()).toMatchObject({ epoch: 2, view: 1, leader: 1 });
  });

  test("is refused without the admin's signature, and for more than f replicas at a time", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const good = replaced(set, 3, 2);
    const two = certify({ ...good.membership, replicas: ["r0", "r1", "x", "y"] });
    for (const next of [{ ...good, signature: "forged" }, two]) {
      set.tell({ t: "reconfigure", next });
      set.run(200);
    }
    const answers = set.clientEffects.flatMap((effect) => (effect.t === "reconfigured" ? [effect.outcome] : []));
    expect(answers).toHaveLength(2);
    for (const answer of answers) expect(JSON.parse(answer)).toHaveProperty("failure");
    set.certifyAll("b");
    expect(set.at(0).replica.inspect().epoch).toBe(1);
  });

  test("is learned by a member that was cut off meanwhile", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    certifyMany(set, "a", 3);
    set.filter = (from, to, message) => (from === "r2" || to === "r2" ? [] : [message]);
    const next = replaced(set, 3, 2);
    reconfigure(set, next);
    set.join("new2-3", 3, next);
    set.tell({ t: "epoch", membership: next });
    certifyMany(set, "b", 20);
    set.filter = (_from, _to, message) => [message];
    certifyMany(set, "c", 3);
    set.run(4_000);
    whole(set);
    expect(set.at(2).replica.inspect().epoch).toBe(2);
  });

  test("retires the replica that was replaced: it votes no more", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    certifyMany(set, "a", 3);
    const next = replaced(set, 3, 2);
    reconfigure(set, next);
    set.run(500);
    expect(set.at(3).replica.inspect().retired).toBe(true);
    set.tell({ t: "epoch", membership: next });
    const replies = set.at(3).effects.length;
    set.certifyAll("b");
    expect(set.at(3).effects.length).toBe(replies);
  });

  test("can be made again and again, each replica once", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    let membership = set.certified.membership;
    for (let i = 0; i < 4; i++) {
      certifyMany(set, `a${i}`, 3);
      const replicas = membership.replicas.map((key, at) => (at === i ? `new-${i}` : key));
      membership = { ...membership, epoch: i + 2, replicas };
      const next = certify(membership);
      set.tell({ t: "reconfigure", next });
      set.run(1_500);
      set.join(`new-${i}`, i, next);
      set.tell({ t: "epoch", membership: next });
      set.run(2_500);
    }
    set.certifyAll("b");
    set.run(2_000);
    whole(set);
    expect(set.certificates.get("b")!.outcome).toBe('{"value":13}');
  });
});
