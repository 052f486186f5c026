/**
 * The study of faults: a function that is certified by a quorum, and the same on plain pods, meet the same faults under load. Prints how fast
 * each was noticed and mended, and how many wrong answers callers got; ends with 1 when a certified answer was wrong or a fault was missed.
 *
 * Usage: node scripts/fault-study.ts [--only <part of a scene's name>], after a build.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createDemoPlatform } from "./demo/platform.ts";
import { type Seen, tableOf, violationsOf } from "./fault-study/report.ts";
import { SCENES, type Scene } from "./fault-study/scenes.ts";
import { Study } from "./fault-study/study.ts";

const { values } = parseArgs({ options: { only: { type: "string", default: "" } } });
const applications = [join("scripts", "fault-study")];
const platform = createDemoPlatform(["--drills"]);

const play = async (): Promise<number> => {
  await platform.start(applications);
  const study = new Study(platform, applications);
  const rows: { scene: Scene; certified: Seen; plain: Seen }[] = [];
  for (const scene of SCENES.filter(({ name }) => name.includes(values.only))) {
    console.log(`${scene.name} …`);
    rows.push({ scene, certified: await study.play("certified", scene.certified), plain: await study.play("plain", scene.plain) });
  }
  console.log(`\n${tableOf(rows)}`);
  const violations = rows.flatMap(({ scene, certified }) => violationsOf(scene, certified));
  for (const violation of violations) console.error(`not as promised: ${violation}`);
  return violations.length === 0 ? 0 : 1;
};

const code = await play().catch((error: Error) => {
  console.error(`fault study: ${error.stack ?? error.message}`);
  return 1;
});
await platform.dispose();
process.exit(code);
