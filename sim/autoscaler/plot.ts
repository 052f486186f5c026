/**
 * An SVG of one load under several policies: calls per second on top, then, for each policy, pods and response times. A few lines and texts
 * need no library, and the files stay small and the same from run to run.
 */
import type { Result } from "./simulate.ts";

const WIDTH = 900;
const LEFT = 60;
const RIGHT = 20;
const HEIGHT = 110;
const GAP = 34;
const COLOURS = { load: "#4c6ef5", pods: "#2b8a3e", mean: "#e8590c", most: "#ffc078", target: "#c92a2a" } as const;

interface Line {
  readonly values: readonly number[];
  readonly colour: string;
  readonly isStep?: boolean;
}

export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** A value that is marked with a dashed line. */
  readonly mark?: number;
  readonly height: number;
}

export const plotOf = (load: string, results: readonly Result[], targetMs: number): string => {
  const panels = results.flatMap((result) => policyPanels(result, targetMs));
  const first = results[0];
  const arrivals = first === undefined ? [] : first.series.map((point) => point.arrivalsPerS);
  const all: Panel[] = [
    { title: `${load}: calls per second`, lines: [{ values: arrivals, colour: COLOURS.load }], height: HEIGHT },
    ...panels,
  ];
  return svgOf(all, first?.series.at(-1)?.atS ?? 0);
};

/** Panels one below the other, over the same time. Each line's values are spread evenly over it. */
export const svgOf = (panels: readonly Panel[], lastS: number): string => {
  let top = GAP;
  const drawn = panels.map((panel) => {
    const text = draw(panel, top);
    top += panel.height + GAP;
    return text;
  });
  const axis = `<text x="${WIDTH - RIGHT}" y="${top - 12}" text-anchor="end">${escaped(duration(lastS))}</text><text x="${LEFT}" y="${top - 12}">0</text>`;
  const style = "<style>text{font:12px sans-serif;fill:#343a40}</style>";
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}">`;
  return `${head}${style}<rect width="100%" height="100%" fill="white"/>${drawn.join("")}${axis}</svg>\n`;
};

const policyPanels = (result: Result, targetMs: number): Panel[] => {
  const { policy, series, late, podSeconds } = result;
  const response: Line[] = [
    { values: series.map((point) => Math.min(point.maxMs, 4 * targetMs)), colour: COLOURS.most },
    { values: series.map((point) => Math.min(point.meanMs, 4 * targetMs)), colour: COLOURS.mean },
  ];
  const pods: Line = { values: series.map((point) => point.pods), colour: COLOURS.pods, isStep: true };
  return [
    { title: `${policy}: pods (${Math.round(podSeconds)} pod-seconds)`, lines: [pods], height: HEIGHT },
    { title: `${policy}: response in ms, longest and mean (${late} late)`, lines: response, mark: targetMs, height: HEIGHT },
  ];
};

const draw = (panel: Panel, top: number): string => {
  const most = Math.max(1e-9, panel.mark ?? 0, ...panel.lines.flatMap((line) => line.values)) * 1.05;
  const y = (value: number): number => top + panel.height - (value / most) * panel.height;
  const frame = `<rect x="${LEFT}" y="${top}" width="${WIDTH - LEFT - RIGHT}" height="${panel.height}" fill="none" stroke="#ced4da"/>`;
  const title = `<text x="${LEFT}" y="${top - 6}">${escaped(panel.title)}</text>`;
  const scale = `<text x="${LEFT - 6}" y="${top + 10}" text-anchor="end">${short(most / 1.05)}</text><text x="${LEFT - 6}" y="${top + panel.height}" text-anchor="end">0</text>`;
  const { mark } = panel;
  const marked =
    mark === undefined
      ? ""
      : `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(mark).toFixed(1)}" y2="${y(mark).toFixed(1)}" stroke="${COLOURS.target}" stroke-dasharray="4 3"/>`;
  return frame + title + scale + marked + panel.lines.map((line) => pathOf(line, y)).join("");
};

const pathOf = ({ values, colour, isStep }: Line, y: (value: number) => number): string => {
  const step = (WIDTH - LEFT - RIGHT) / Math.max(1, values.length);
  const points = values.map((value, i) => {
    const x = (LEFT + i * step).toFixed(1);
    const to = `${x} ${y(value).toFixed(1)}`;
    return i === 0 ? `M${to}` : isStep === true ? `H${x}V${y(value).toFixed(1)}` : `L${to}`;
  });
  return `<path d="${points.join("")}" fill="none" stroke="${colour}" stroke-width="1.3"/>`;
};

const short = (value: number): string => (value >= 100 ? String(Math.round(value)) : value.toPrecision(2));

const duration = (seconds: number): string => (seconds > 7_200 ? `${(seconds / 3_600).toFixed(1)} h` : `${Math.round(seconds)} s`);

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
