/** Kills by chance: pods, and now and then the whole control plane. */
import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../../src/lib/random.ts";
import { signal } from "../../test/support/processes.ts";
import type { SoakReport } from "./report.ts";
import type { World } from "./world.ts";

export interface ChaosOptions {
  rounds: number;
  /** Told after each kill. */
  progress(round: number): void;
}

const SHORTEST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 700;
const LONGEST_START_MS = 400;

/** Of a hundred kills, how many are of which kind; the rest are of pods. */
const CONTROL_PLANES = 25;
const CONTROL_PLANES_TWICE = 4;
const STOPPED_PODS = 5;

/** Once in so many rounds a new version is deployed. */
const DEPLOY_EVERY = 20;

export const wreakHavoc = async (world: World, random: Random, { rounds, progress }: ChaosOptions): Promise<SoakReport["kills"]> => {
  const kills = { pods: 0, stoppedPods: 0, controlPlanes: 0, duringStart: 0 };
  for (let round = 1; round <= rounds; round++) {
    // On a busy machine there would be nothing to kill yet.
    await delay((SHORTEST_PAUSE_MS + random.below(LONGEST_PAUSE_MS - SHORTEST_PAUSE_MS)) * world.slowness);
    if (random.below(DEPLOY_EVERY) === 0) await world.deploy();
    await killOne(world, random, kills);
    progress(round);
  }
  return kills;
};

const killOne = async (world: World, random: Random, kills: SoakReport["kills"]): Promise<void> => {
  const drawn = random.below(100);
  if (drawn < CONTROL_PLANES_TWICE) {
    await world.killControlPlane(random.below(LONGEST_START_MS));
    kills.controlPlanes += 2;
    kills.duringStart++;
  } else if (drawn < CONTROL_PLANES) {
    await world.killControlPlane();
    kills.controlPlanes++;
  } else if (drawn < CONTROL_PLANES + STOPPED_PODS) {
    if (await killPod(world, random, "SIGSTOP")) kills.stoppedPods++;
  } else if (await killPod(world, random, "SIGKILL")) kills.pods++;
};

const killPod = async (world: World, random: Random, how: "SIGKILL" | "SIGSTOP"): Promise<boolean> => {
  const pods = (await world.client.pods()).filter(({ pid }) => pid > 0);
  const pod = pods[random.below(pods.length)];
  if (pod === undefined) return false;
  signal(pod.pid, how);
  return true;
};
