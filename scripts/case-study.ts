/**
 * The case study: orders that are put into a bucket, confirmed and paid, and each failure of the paper brought about for real, with those
 * that it lacks. Prints what was seen, and ends with 1 when a case is not as it declares.
 *
 * Usage: node scripts/case-study.ts [--repetitions 20] [--only <part of a case's name>], after a build.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CASES } from "./case-study/cases.ts";
import { createObserver } from "./case-study/observer.ts";
import { differencesOf, median, tableOf } from "./case-study/report.ts";
import { type Observation, Study } from "./case-study/study.ts";
import { createDemoPlatform } from "./demo/platform.ts";

const { values } = parseArgs({
  options: { repetitions: { type: "string", default: "20" }, only: { type: "string", default: "" } },
});

const platform = createDemoPlatform();
const observer = await createObserver();

const play = async (): Promise<number> => {
  await platform.start([join("scripts", "case-study")]);
  const study = new Study(platform.client, platform.url, observer);
  await study.begin();
  const rows: Parameters<typeof tableOf>[0][number][] = [];
  const differences: string[] = [];
  for (const each of CASES.filter(({ name }) => name.includes(values.only))) {
    const seen: Observation[] = [];
    for (let n = 1; n <= (each.quick ? Number(values.repetitions) : 1); n++) seen.push(await study.play(each, n));
    const found = seen.flatMap((observation) => differencesOf(each, observation));
    differences.push(...found);
    rows.push({ study: each, seen, isAsDeclared: found.length === 0 });
    const [first] = seen as [Observation];
    console.log(`${each.name}: ${each.what}${each.paper === undefined ? "" : ` (${each.paper})`}`);
    console.log(`  ${first.verdict}: ${first.evidence || "no evidence"}`);
    if (first.reader !== undefined) console.log(`  a reader meanwhile: ${first.reader}`);
  }
  study.end();
  console.log(`\n${tableOf(rows)}`);
  const quick = rows.filter((row) => row.study.quick).flatMap((row) => row.seen.flatMap(({ decisionMs }) => decisionMs ?? []));
  if (quick.length > 0) {
    console.log(
      `\nFrom the failure to the decision, ${quick.length} failures that the function throws: median ${median(quick).toFixed(1)} ms.`,
    );
  }
  for (const difference of differences) console.error(`not as declared: ${difference}`);
  return differences.length === 0 ? 0 : 1;
};

const code = await play().catch((error: Error) => {
  console.error(`case study: ${error.stack ?? error.message}`);
  return 1;
});
await platform.dispose();
await observer.close();
process.exit(code);
