/** What a recording shows: checks of order and completeness, a timeline and a summary. */
import { median } from "../case-study/report.ts";
import { type Burst, COOL_DOWN_MS } from "./bursts.ts";
import type { Decision, Recording, Sample } from "./recording.ts";

/** DESIGN's goal for a call to a function without pods, with a warm pod, on a quiet machine (p50). */
const COLD_START_MS = 12;
/** What a burst may take beyond what its pods need for it. */
const ALLOWANCE_MS = 500;

/** What was not shown, as text; empty when all was. It tells of order and completeness: how fast a machine is has no part in it. */
export const missingIn = (burst: Burst, recording: Recording): string[] => {
  const { samples, decisions, wrong, finishedAt, emptyAt } = recording;
  const missing: string[] = wrong.slice(0, 5);
  const need = (holds: boolean, otherwise: string): void => {
    if (!holds) missing.push(otherwise);
  };
  need(wrong.length === 0, `${wrong.length} of ${burst.count} answers are wrong`);
  need(finishedAt.filter(Number.isFinite).length === burst.count, `not every one of ${burst.count} was answered`);
  need(mostOf(samples, "waiting") > 0, "no layer grew");
  need(mostOf(samples, "mostOfOne") <= burst.pods, `a function had more than its ${burst.pods} pods`);
  need(decisions.some(isRise), "no function got a second pod");
  for (const name of burst.functions) {
    const own = decisions.filter((decision) => decision.function === name);
    need(isActivation(own[0]), `${name}: the first decision was not the activation`);
    need(isRelease(own.at(-1)), `${name}: the last decision was not to let all pods go: ${own.at(-1)?.reason ?? "none"}`);
    const early = own.find((decision) => isRelease(decision) && !decision.reason.startsWith("no traffic"));
    need(early === undefined, `${name}: its pods went although calls came: ${early?.reason ?? ""}`);
    need(
      own.every(({ from }, i) => from === (own[i - 1]?.pods ?? 0)),
      `${name}: its decisions don't follow one another`,
    );
  }
  const served = Math.max(...finishedAt);
  need(emptyAt !== undefined && emptyAt >= served, "the pods were not gone after the burst");
  return missing;
};

const isActivation = (decision: Decision | undefined): boolean => decision?.from === 0 && decision.reason.startsWith("activation");
const isRise = ({ from, pods }: Decision): boolean => from > 0 && pods > from;
const isRelease = (decision: Decision | undefined): boolean => decision?.pods === 0;

const mostOf = (samples: readonly Sample[], field: keyof Sample): number => samples.reduce((most, one) => Math.max(most, one[field]), 0);

// ---------------------------------------------------------------- timeline

const ROWS = 40;

/** Samples as rows, as many as show what changes, and each decision where it belongs. */
export const timelineOf = ({ samples, decisions, finishedAt }: Recording): string[] => {
  const lines: { at: number; text: string }[] = [];
  const step = (samples.at(-1)?.at ?? 0) / ROWS;
  let [before, dueAt] = ["", Number.NEGATIVE_INFINITY];
  for (const sample of samples) {
    const now = JSON.stringify({ ...sample, at: 0 });
    const isQuiet = sample.waiting + sample.running === 0 && before !== "" && now === before;
    if (sample.at < 0 || isQuiet || (sample.at < dueAt && sample.waiting + sample.running > 0)) continue;
    [before, dueAt] = [now, sample.at + step];
    const answered = finishedAt.filter((at) => at <= sample.at).length;
    lines.push({
      at: sample.at,
      text: [answered, sample.waiting, sample.running, podsText(sample)].map((cell) => String(cell).padStart(9)).join(""),
    });
  }
  for (const { at, function: name, from, pods, reason } of decisions) lines.push({ at, text: `   ${name} ${from} → ${pods}: ${reason}` });
  lines.sort((a, b) => a.at - b.at);
  const heading = `${"seconds".padStart(9)}${["answered", "waiting", "running", "pods"].map((title) => title.padStart(9)).join("")}`;
  return [heading, ...lines.map(({ at, text }) => `${(at / 1_000).toFixed(2).padStart(9)}${text}`)];
};

const podsText = ({ ready, starting }: Sample): string => (starting === 0 ? String(ready) : `${ready}+${starting}`);

// ---------------------------------------------------------------- summary

export interface Figures {
  firstResultMs: number;
  /** Of a call alone without pods, beyond the call's own time; the median of several. Absent when that was not measured. */
  coldStartMs?: number;
  sentMs: number;
  servedMs: number;
  /** What the most pods that there were need for the burst. */
  capacityMs: number;
  mostWaiting: number;
  mostPods: number;
  emptyAfterMs: number;
}

export const figuresOf = (burst: Burst, { samples, acceptedAt, finishedAt, emptyAt, decisions, coldStartsMs }: Recording): Figures => {
  const firstResultMs = Math.min(...finishedAt);
  const servedMs = Math.max(...finishedAt);
  const mostOfOne = Math.max(1, ...decisions.map(({ pods }) => pods));
  return {
    firstResultMs,
    ...(coldStartsMs.length === 0 ? {} : { coldStartMs: median(coldStartsMs) }),
    sentMs: Math.max(...acceptedAt),
    servedMs,
    capacityMs: Math.ceil(burst.callsPerFunction / (mostOfOne * burst.slots)) * burst.workMs,
    mostWaiting: mostOf(samples, "waiting"),
    mostPods: samples.reduce((most, { ready }) => Math.max(most, ready), 0),
    emptyAfterMs: (emptyAt ?? Number.NaN) - servedMs,
  };
};

/** @param isSingle one function and no call that waits for another one's result, for which there are goals */
export const summaryOf = (figures: Figures, isSingle: boolean): string[] => {
  const { firstResultMs, coldStartMs, sentMs, servedMs, capacityMs, mostWaiting, mostPods, emptyAfterMs } = figures;
  const goal = (value: number, most: number): string => `goal ${ms(most)}: ${value <= most ? "reached" : "not reached"}`;
  const gone = ` (its pods need ${ms(capacityMs)}; ${goal(servedMs, capacityMs + ALLOWANCE_MS)})`;
  const alone = (value: number): string =>
    `one call alone       ${ms(value)} beyond its own time, from no pods (${goal(value, COLD_START_MS)})`;
  return [
    ...(coldStartMs === undefined ? [] : [alone(coldStartMs)]),
    `all accepted         ${ms(sentMs)}`,
    `first result         ${ms(firstResultMs)}`,
    `backlog gone         ${ms(servedMs)}${isSingle ? gone : ""}`,
    `most calls waiting   ${mostWaiting}`,
    `most pods            ${mostPods}`,
    `pods back to none    ${ms(emptyAfterMs)} after the last result, with a cool-down of ${ms(COOL_DOWN_MS)}`,
  ];
};

const ms = (value: number): string => `${Math.round(value).toLocaleString("en-US")} ms`;
