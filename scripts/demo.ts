/**
 * The tour of the README: starts the platform in a temporary folder, evaluates expressions, books a trip, kills a pod and then the whole control
 * plane in the middle of runs, and checks that everything goes on. Ends with 1 when something was not as it says.
 *
 * Usage: node scripts/demo.ts, after a build.
 */
import { createDemoPlatform } from "./demo/platform.ts";
import { book, evaluate, killControlPlane, killPod } from "./demo/scenes.ts";
import { createTimeline } from "./demo/timeline.ts";

const INTERRUPTED = 130;

const timeline = createTimeline((line) => console.log(line));
const platform = createDemoPlatform();

let ending = false;
const cleanUpAndExit = (code: number): void => {
  ending = true;
  void platform.dispose().finally(() => process.exit(code));
};
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => cleanUpAndExit(INTERRUPTED));

const play = async (): Promise<void> => {
  timeline.scene("The platform: one process, one folder");
  const startMs = await platform.start(["examples/arithmetic", "examples/booking"]);
  timeline.step(`lockstep start: ready after ${Math.round(startMs)} ms with two applications deployed, data in ${platform.folder}`);
  await evaluate(timeline, platform.client);
  const trip = await book(timeline, platform.client);
  const trips = await killPod(timeline, platform.client);
  await killControlPlane(timeline, platform, trips, trip);
  timeline.summary();
};

await play().then(
  () => cleanUpAndExit(0),
  (error: Error) => {
    // What an interruption breaks is no finding.
    if (ending) return;
    console.error(`\ndemo: ${error.name === "NotShown" ? error.message : (error.stack ?? error.message)}`);
    cleanUpAndExit(1);
  },
);
