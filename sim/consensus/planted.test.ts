import { describe, expect, it } from "vitest";
import { generate } from "./generate.ts";
import { FLAWS, hunt } from "./planted.ts";
import { describe as told } from "./scenario.ts";
import { shrink } from "./shrink.ts";
import { findingOf, play } from "./simulate.ts";
import { DISTINCT_TWINS, isDistinct, mirrorOf, playTwins, TWINS } from "./twins.ts";

describe("the checkers", () => {
  it.each(FLAWS)("catch replicas with the planted mistake %s", { timeout: 120_000 }, (flaw) => {
    expect(hunt(flaw, 4, 1, 5_000)).toMatchObject({ seeds: expect.any(Number), property: expect.any(String) });
  });

  it("are told apart by what fails, and a scenario is shrunk to what it takes", { timeout: 60_000 }, () => {
    const options = { flaws: { noClientTable: true } } as const;
    const { seeds } = hunt("noClientTable", 4, 1, 5_000);
    const scenario = generate(seeds!, 4);
    const finding = findingOf(scenario, play(scenario, options))!;
    const small = shrink(finding, options, 60);
    expect(small.property).toBe(finding.property);
    expect(told(small.scenario).length).toBeLessThanOrEqual(told(scenario).length);
    expect(play(small.scenario, options).violation).toMatchObject({ property: finding.property });
    expect(play(small.scenario).violation).toBeUndefined();
  });
});

describe("twins", () => {
  it("are the same with their names exchanged, so that little more than half of the cases need to be played", () => {
    let distinct = 0;
    for (let number = 0; number < TWINS; number++) {
      if (isDistinct(number)) distinct++;
      if (mirrorOf(mirrorOf(number)) !== number) throw new Error(`the mirror of the mirror of ${number} is another case`);
    }
    expect(distinct).toBe(DISTINCT_TWINS);
    expect(distinct).toBe(139_264);
  });

  it("of all cases every 1,999th keeps agreement and its certificates", { timeout: 120_000 }, () => {
    for (let number = 0; number < TWINS; number += 1_999) expect(playTwins(number)).toBeUndefined();
  });

  it("find a quorum that is too small", { timeout: 60_000 }, () => {
    const found = Array.from({ length: 40 }, (_, i) => playTwins(i * 641, { quorumOf2f: true })?.property);
    expect(found).toContain("agreement");
  });
});
