import type { Random } from "../../src/lib/random.ts";
import { hashText, seeded } from "../../src/lib/random.ts";
import type { Behaviour } from "./byzantine.ts";
import { BEHAVIOURS } from "./byzantine.ts";
import type { ClientPlan, Harm, Liar, Net, Scenario } from "./scenario.ts";
import { twinPlaceOf } from "./scenario.ts";

/** What a seed stands for. About a fourth of all have no liars, a fourth nothing but liars. */
export const generate = (seed: number, nodes: 4 | 7): Scenario => {
  const random = seeded(hashText(`${nodes}/${seed}`));
  const faults = (nodes - 1) / 3;
  const chance = (probability: number): boolean => random.next() < probability;
  const activeMs = 500 + random.below(3_000);
  const clients = clientsOf(random, activeMs);
  const liars = chance(0.7) ? liarsOf(random, nodes, faults, activeMs) : [];
  const harms = chance(0.75) ? harmsOf(random, { nodes, clients: clients.length, activeMs, liars }) : [];
  const keepsSnapshots = chance(0.5);
  return {
    seed,
    faults,
    tuning: {
      checkpointEvery: [2, 4, 8, 16][random.below(4)]!,
      maxBatchOperations: [1, 4, 16][random.below(3)]!,
      batchesInFlight: [1, 2, 8][random.below(3)]!,
      batchDelayMs: random.below(3),
      progressTimeoutMs: [100, 300][random.below(2)]!,
    },
    net: netOf(random),
    diskMs: chance(0.5) ? 0.5 : 10,
    keepsSnapshots,
    executeMs: chance(0.7) ? 0.5 : 30,
    skewMs: chance(0.5) ? 0 : 1_000,
    clients,
    liars,
    harms,
    isMerciless: keepsSnapshots && liars.length === 0 && chance(0.5),
    healMs: Math.max(activeMs, ...harms.map(({ untilMs }) => untilMs)),
  };
};

const clientsOf = (random: Random, activeMs: number): ClientPlan[] =>
  Array.from({ length: 1 + random.below(3) }, () => {
    const operations = 5 + random.below(25);
    return { operations, gapMs: Math.round((activeMs / operations) * random.next()), burst: 1 + random.below(4) };
  });

const netOf = (random: Random): Net => {
  const isBad = random.next() < 0.4;
  const minMs = random.next() < 0.5 ? 0.2 : 5 * random.next();
  return {
    minMs,
    maxMs: minMs * (1 + 4 * random.next()),
    tail: isBad ? 0.05 * random.next() : 0,
    loss: isBad ? 0.03 * random.next() : 0,
    duplicate: isBad ? 0.1 * random.next() : 0,
    isOrdered: random.next() < 0.5,
  };
};

const liarsOf = (random: Random, nodes: number, faults: number, activeMs: number): Liar[] => {
  const free = Array.from({ length: nodes }, (_, i) => i);
  return Array.from({ length: 1 + random.below(faults) }, () => {
    // The first leader is the most interesting one to lie.
    const at = random.next() < 0.4 ? 0 : random.below(free.length);
    const [replica] = free.splice(at, 1) as [number];
    const behaviours = Array.from({ length: 1 + random.below(3) }, () => BEHAVIOURS[random.below(BEHAVIOURS.length)]!);
    return { replica, behaviours: [...new Set<Behaviour>(behaviours)], fromMs: random.next() < 0.6 ? 0 : random.below(activeMs) };
  });
};

interface Field {
  nodes: number;
  clients: number;
  activeMs: number;
  liars: readonly Liar[];
}

const harmsOf = (random: Random, field: Field): Harm[] => {
  const isStorm = random.next() < 0.3;
  const count = 1 + random.below(isStorm ? 12 : 4);
  return Array.from({ length: count }, () => {
    const atMs = random.below(field.activeMs);
    return { atMs, untilMs: atMs + 1 + random.below(isStorm ? 300 : 1_500), ...harmOf(random, field) } as Harm;
  }).sort((a, b) => a.atMs - b.atMs);
};

type What<T = Harm> = T extends Harm ? Omit<T, "atMs" | "untilMs"> : never;

const harmOf = (random: Random, { nodes, clients, liars }: Field): What => {
  const places = nodes + clients;
  const replica = random.below(nodes);
  switch (random.below(10)) {
    case 0:
    case 1:
      return { t: "partition", groups: groupsOf(random, places, liars) };
    case 2:
      return { t: "cut", from: random.below(places), to: random.below(places) };
    case 3:
      return { t: "loss", probability: 0.5 * random.next() };
    case 4:
      return { t: "slow", who: random.below(places), delayMs: random.below(400) };
    case 5:
      return { t: "pause", replica };
    case 6:
    case 7:
      return { t: "crash", replica };
    case 8:
      return { t: "replace", replica };
    default:
      return { t: "restart-client", client: random.below(clients) };
  }
};

/** Two or three groups; a twin's second process is anywhere. */
const groupsOf = (random: Random, places: number, liars: readonly Liar[]): number[][] => {
  const groups: number[][] = Array.from({ length: 2 + random.below(2) }, () => []);
  const everyone = Array.from({ length: places }, (_, i) => i);
  const twins = liars.filter(({ behaviours }) => behaviours.includes("twin")).map(({ replica }) => twinPlaceOf(replica));
  for (const place of [...everyone, ...twins]) groups[random.below(groups.length)]!.push(place);
  return groups.filter((group) => group.length > 0);
};
