import { expect, test } from "vitest";
import type { Membership } from "../consensus/membership.ts";
import { Certifier } from "./certifier.ts";

const membership = (epoch: number): Membership => ({
  ...{ set: "s", application: "a", function: "f", version: "1", epoch, faults: 1 },
  replicas: ["a", "b", "c", "d"],
  clients: ["client"],
});

test("a membership is signed once while it is in use, and those of a set that lives for years are not all remembered", () => {
  let signed = 0;
  const certifier = new Certifier(() => `signature ${++signed}`);
  const first = certifier.certify(membership(1));
  for (let epoch = 2; epoch <= 1_000; epoch++) {
    certifier.certify(membership(epoch));
    expect(certifier.certify(membership(1))).toBe(first);
  }
  expect(signed).toBe(1_000);
  expect(certifier.size).toBeLessThanOrEqual(256);
});
