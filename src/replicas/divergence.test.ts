import { describe, expect, it } from "vitest";
import { divergence, firstDifference } from "./divergence.ts";

const told = (replica: number, outcome: string, hash = outcome) => ({ replica, resultHash: hash, outcome });

describe("a divergence", () => {
  it("names the replicas that differ from the most, and the first field", () => {
    const failure = divergence("quote", [
      told(0, '{"value":{"id":1,"total":5}}'),
      told(1, "", '{"value":{"id":1,"total":5}}'),
      told(2, '{"value":{"id":1,"total":6}}'),
      told(3, "", "another"),
    ]);
    expect(failure).toMatchObject({ code: "REPLICAS_DIVERGED", terminal: true, details: { replicas: [2, 3], field: "value.total" } });
    expect(failure.message).toContain("replicas 2 and 3");
  });

  it("names those that have no result apart from those that differ", () => {
    const failure = divergence("quote", [told(0, "1"), told(1, "1"), told(2, "2"), told(3, "")]);
    expect(failure.details).toMatchObject({ replicas: [2] });
    expect(failure.message).toContain("2 different results");
    expect(failure.message).toContain("replica 3 has no result of it");
    expect(divergence("quote", [told(0, "1"), told(1, "1"), told(2, ""), told(3, "")]).message).toContain(
      "replicas 2 and 3 have no result of it",
    );
  });

  it("says nothing of the field when only hashes are known", () => {
    expect(divergence("quote", [told(0, "", "a"), told(1, "", "b")]).details).toEqual({ replicas: [1] });
  });

  it.each([
    ["1", "2", "the result"],
    ['{"value":[1,2,3]}', '{"value":[1,5,3]}', "value[1]"],
    ['{"value":{"a":{"b":null}}}', '{"value":{"a":{}}}', "value.a.b"],
    ['{"value":1}', '{"failure":{"code":"X"}}', "value"],
    ['{"value":[]}', '{"value":{}}', "value"],
  ])("of %s and %s begins at %s", (a, b, path) => {
    expect(firstDifference(a, b)).toBe(path);
  });

  it("takes whatever a replica may have signed: what is no JSON, and names without end", () => {
    expect(firstDifference('{"value":1}', "not JSON")).toBeUndefined();
    expect(divergence("quote", [told(0, '{"value":1}', "a"), told(3, "{", "b")])).toMatchObject({ details: { replicas: [3] } });
    const long = "x".repeat(1_000_000);
    expect(divergence("quote", [told(0, "{}", "a"), told(3, `{"${long}":1}`, "b")]).message.length).toBeLessThan(1_000);
  });

  it("goes no deeper than a bound", () => {
    const deep = (end: number): string => `${"[".repeat(5_000)}${end}${"]".repeat(5_000)}`;
    expect(firstDifference(deep(1), deep(2))).toBeDefined();
  });
});
