import { expect, test } from "vitest";
import { certify } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";

test("an epoch of another version has the same state, and a result that is asked for in it names the version that has executed it", () => {
  const set = new ReplicaSet();
  set.certifyAll("a");
  set.filterReplies = (_from, reply) => (reply.results.some(({ id }) => id === "b") ? undefined : reply);
  set.submit("b");
  set.runUntil(() => set.members.every(({ replica }) => replica.inspect().executed >= 3));
  const next = certify({ ...set.certified.membership, epoch: 2, version: "2" });
  set.tell({ t: "reconfigure", next });
  set.runUntil(() => set.members.every(({ replica }) => replica.inspect().epoch === 2));
  for (const { notices } of set.members) expect(notices).toContainEqual({ t: "epoch", epoch: 2, version: "2" });
  set.filterReplies = (_from, reply) => reply;
  set.tell({ t: "epoch", membership: next });
  set.runUntil(() => set.certificates.has("b"));
  set.certifyAll("c");
  const found = ["a", "b", "c"].map((id) => {
    const { certificate, outcome } = set.certificates.get(id)!;
    return [outcome, certificate.membership.membership.version, certificate.statement.version];
  });
  expect(found).toEqual([
    ['{"value":1}', "1", "1"],
    ['{"value":2}', "2", "1"],
    ['{"value":3}', "2", "2"],
  ]);
});
