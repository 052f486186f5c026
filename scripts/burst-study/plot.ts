/** A burst as a picture: what came and was answered, what waited, the pods, and how long answers took. */
import { type Panel, svgOf } from "../../sim/autoscaler/plot.ts";
import type { Recording, Sample } from "./recording.ts";

const POINTS = 300;
const HEIGHT = 110;
const COLOURS = {
  came: "#4c6ef5",
  answered: "#2b8a3e",
  waiting: "#e8590c",
  running: "#4c6ef5",
  ready: "#2b8a3e",
  coming: "#ffc078",
} as const;

export const plotOf = (title: string, recording: Recording): string => {
  const { samples, acceptedAt, finishedAt, emptyAt = 0 } = recording;
  const spanMs = Math.max(1, emptyAt) / POINTS;
  const perSecond = (times: readonly number[]): number[] => {
    const counts = Array<number>(POINTS).fill(0);
    for (const at of times) counts[indexOf(at, spanMs)]! += 1_000 / spanMs;
    return counts;
  };
  const sampled = (pick: (sample: Sample) => number): number[] => {
    const values = Array<number>(POINTS).fill(Number.NaN);
    for (const one of samples) if (one.at >= 0) values[indexOf(one.at, spanMs)] = pick(one);
    for (const [i, value] of values.entries()) if (Number.isNaN(value)) values[i] = values[i - 1] ?? 0;
    return values;
  };
  const panels: Panel[] = [
    {
      title: `${title}: accepted and answered per second`,
      height: HEIGHT,
      lines: [
        { values: perSecond(acceptedAt), colour: COLOURS.came },
        { values: perSecond(finishedAt), colour: COLOURS.answered },
      ],
    },
    {
      title: "calls that wait and that execute",
      height: HEIGHT,
      lines: [
        { values: sampled(({ waiting }) => waiting), colour: COLOURS.waiting },
        { values: sampled(({ running }) => running), colour: COLOURS.running },
      ],
    },
    {
      title: "pods that are there or coming, and that take calls",
      height: HEIGHT,
      lines: [
        { values: sampled(({ ready, starting }) => ready + starting), colour: COLOURS.coming, isStep: true },
        { values: sampled(({ ready }) => ready), colour: COLOURS.ready, isStep: true },
      ],
    },
  ];
  return svgOf(panels, emptyAt / 1_000);
};

const indexOf = (at: number, spanMs: number): number => Math.min(POINTS - 1, Math.max(0, Math.floor(at / spanMs)));
