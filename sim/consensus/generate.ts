import type { Random } from "../../src/lib/random.ts";
import { hashText, seeded } from "../../src/lib/random.ts";
import type { Behaviour } from "./byzantine.ts";
import { BEHAVIOURS } from "./byzantine.ts";
import type { Diverging } from "./diverging.ts";
import type { ClientPlan, Harm, Liar, Net, Scenario } from "./scenario.ts";
import { twinPlaceOf } from "./scenario.ts";
import { leaderTactics } from "./tactics/leader.ts";
import { stateTactics } from "./tactics/state.ts";
import { viewTactics } from "./tactics/views.ts";

/** What a part of the seeds is about: random mixes of everything seldom get deep into one thing. */
interface Theme {
  tactics: readonly Behaviour[];
  /** Of one liar at most. Default 3. */
  behaviours?: number;
  checkpointEvery: readonly number[];
  /** How often a liar is the first leader. */
  leads?: number;
  liars: number;
  keepsSnapshots: number;
  diverging?: (random: Random, nodes: number) => Diverging;
  harms: (random: Random, field: Field) => Harm[];
}

/** What a seed stands for. */
export const generate = (seed: number, nodes: 4 | 7): Scenario => {
  const random = seeded(hashText(`${nodes}/${seed}`));
  const faults = (nodes - 1) / 3;
  const chance = (probability: number): boolean => random.next() < probability;
  const theme = THEMES[random.below(THEMES.length)]!;
  const activeMs = 500 + random.below(3_000);
  const clients = clientsOf(random, activeMs);
  const liars = chance(theme.liars) ? liarsOf(random, theme, { nodes, faults, activeMs }) : [];
  const harms = theme.harms(random, { nodes, clients: clients.length, activeMs, liars });
  const keepsSnapshots = chance(theme.keepsSnapshots);
  const diverging = theme.diverging?.(random, nodes);
  return {
    seed,
    faults,
    tuning: {
      checkpointEvery: theme.checkpointEvery[random.below(theme.checkpointEvery.length)]!,
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
    ...(diverging && { diverging }),
    isMerciless: chance(0.3) && diverging === undefined,
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

interface Stage {
  nodes: number;
  faults: number;
  activeMs: number;
}

const liarsOf = (random: Random, { tactics, behaviours: most = 3, leads = 0 }: Theme, { nodes, faults, activeMs }: Stage): Liar[] => {
  const free = Array.from({ length: nodes }, (_, i) => i);
  return Array.from({ length: 1 + random.below(faults) }, () => {
    // The first leaders are the most interesting ones to lie.
    const isFirst = free[0] === 0 && random.next() < leads;
    const at = isFirst ? 0 : random.next() < 0.5 ? random.below(2) : random.below(free.length);
    const [replica] = free.splice(at, 1) as [number];
    const behaviours = Array.from({ length: 1 + random.below(most) }, () => tactics[random.below(tactics.length)]!);
    return {
      replica,
      behaviours: [...new Set<Behaviour>(behaviours)],
      fromMs: random.next() < (isFirst ? 0.9 : 0.6) ? 0 : random.below(activeMs),
    };
  });
};

interface Field {
  nodes: number;
  clients: number;
  activeMs: number;
  liars: readonly Liar[];
}

const anyHarms = (random: Random, field: Field): Harm[] => {
  if (random.next() < 0.25) return [];
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

/** One leader after the other is stopped or cut off for a while, so that views change while batches are under way. */
const leaderHunt = (random: Random, { nodes, clients, activeMs }: Field): Harm[] => {
  const harms: Harm[] = [];
  const paceMs = 60 + random.below(500);
  const first = random.next() < 0.5 ? 0 : random.below(nodes);
  for (let i = 0, atMs = random.below(200); atMs < activeMs; i++, atMs += paceMs) {
    const replica = (first + i) % nodes;
    const untilMs = atMs + paceMs * (0.3 + 1.2 * random.next());
    const rest = Array.from({ length: nodes + clients }, (_, place) => place).filter((place) => place !== replica);
    const kind = random.below(4);
    if (kind === 0) harms.push({ t: "pause", atMs, untilMs, replica });
    else if (kind === 1) harms.push({ t: "crash", atMs, untilMs, replica });
    else if (kind === 2) harms.push({ t: "partition", atMs, untilMs, groups: [[replica], rest] });
    // It hears, and isn't heard.
    else for (const to of rest) if (to < nodes && random.next() < 0.8) harms.push({ t: "cut", atMs, untilMs, from: replica, to });
  }
  return harms;
};

/** Replicas are away for so long that the others forget what they would need. */
const absences = (random: Random, { nodes, activeMs, clients, liars }: Field): Harm[] => {
  const count = 1 + random.below(4);
  return Array.from({ length: count }, (): Harm => {
    const atMs = random.below(activeMs);
    const replica = random.below(nodes);
    const times = { atMs, untilMs: atMs + 200 + random.below(1_500) };
    const rest = Array.from({ length: nodes + clients }, (_, place) => place).filter((place) => place !== replica);
    const whats: What[] = [
      { t: "crash", replica },
      { t: "replace", replica: liars[0] !== undefined && random.next() < 0.3 ? liars[0].replica : replica },
      { t: "partition", groups: [[replica], rest] },
      { t: "pause", replica },
    ];
    return { ...times, ...whats[random.below(whats.length)]! } as Harm;
  }).sort((a, b) => a.atMs - b.atMs);
};

/** Two or three groups; a twin's second process is anywhere. */
const groupsOf = (random: Random, places: number, liars: readonly Liar[]): number[][] => {
  const groups: number[][] = Array.from({ length: 2 + random.below(2) }, () => []);
  const everyone = Array.from({ length: places }, (_, i) => i);
  const twins = liars.filter(({ behaviours }) => behaviours.includes("twin")).map(({ replica }) => twinPlaceOf(replica));
  for (const place of [...everyone, ...twins]) groups[random.below(groups.length)]!.push(place);
  return groups.filter((group) => group.length > 0);
};

const LEADING = Object.keys(leaderTactics) as Behaviour[];
const VIEWING = Object.keys(viewTactics) as Behaviour[];
const STATE = Object.keys(stateTactics) as Behaviour[];

/** A liar in it has few ways to lie: one spoils the other's. */
const VIEW_CHANGES: Theme = {
  tactics: [...VIEWING, "invalid-new-view", "invalid-new-view", "invented-claims", "invented-claims", "twin", "silent-leader"],
  behaviours: 2,
  checkpointEvery: [16, 64],
  liars: 0.9,
  keepsSnapshots: 0.5,
  harms: leaderHunt,
};

/** The first leader lies, in one way or two, and nothing else goes wrong. */
const LEADERS: Theme = {
  tactics: [...LEADING, "wrong-time", "wrong-time", "wrong-time", "favoured-few"],
  behaviours: 2,
  checkpointEvery: [4, 16],
  liars: 1,
  leads: 0.8,
  keepsSnapshots: 0.5,
  harms: (random, field) => (random.next() < 0.5 ? [] : anyHarms(random, field)),
};

/** State is fetched again and again, of liars too. */
const TRANSFERS: Theme = {
  tactics: ["corrupt-pages", "corrupt-pages", "false-proofs", "no-content", "wrong-checkpoints", "false-results", "false-results"],
  behaviours: 1,
  checkpointEvery: [2],
  liars: 1,
  keepsSnapshots: 0.2,
  harms: absences,
};

/** One replica has results of its own; it is as good as faulty. */
const ODD_ONE: Theme = {
  tactics: BEHAVIOURS,
  checkpointEvery: [4, 16],
  liars: 0,
  keepsSnapshots: 0.8,
  diverging: (random, nodes) => ({ share: 5 + random.below(60), replica: random.below(nodes) }),
  harms: anyHarms,
};

/** Any replicas differ in some results, or in all of them: checkpoints, transfers and changes of the members don't depend on it. */
const DIVERGING: Theme = {
  tactics: BEHAVIOURS,
  checkpointEvery: [2, 4, 16],
  liars: 0,
  keepsSnapshots: 0.8,
  diverging: (random) => ({ share: random.next() < 0.3 ? 100 : 5 + random.below(60) }),
  harms: anyHarms,
};

const THEMES: readonly Theme[] = [
  { tactics: BEHAVIOURS, checkpointEvery: [2, 4, 8, 16], liars: 0.7, keepsSnapshots: 0.5, harms: anyHarms },
  { tactics: BEHAVIOURS, checkpointEvery: [2, 4, 8, 16], liars: 0.7, keepsSnapshots: 0.5, harms: anyHarms },
  VIEW_CHANGES,
  VIEW_CHANGES,
  VIEW_CHANGES,
  { tactics: [...LEADING, "twin", "vote-for-all"], checkpointEvery: [4, 16], liars: 1, keepsSnapshots: 0.5, harms: anyHarms },
  LEADERS,
  { tactics: [...STATE, "false-decisions", "no-content"], checkpointEvery: [2, 4], liars: 0.9, keepsSnapshots: 0.3, harms: absences },
  TRANSFERS,
  ODD_ONE,
  DIVERGING,
  { tactics: BEHAVIOURS, checkpointEvery: [4, 64], liars: 0.2, keepsSnapshots: 0.8, harms: leaderHunt },
];
