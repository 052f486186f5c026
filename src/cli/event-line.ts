import type { PlatformEvent } from "../protocol/events.ts";
import { faultHead, repairText } from "./fault-text.ts";
import { statusPainter } from "./run-text.ts";
import type { Style } from "./style.ts";
import { duration, oneLine, timeOfDay } from "./text.ts";

/** An event as a line of the log of `lockstep dev`; `undefined` for one that would only be noise there. */
export const eventLine = (event: PlatformEvent, style: Style): string | undefined => {
  const text = textOf(event, style);
  return text === undefined ? undefined : `${style.dim(timeOfDay(event.at))} ${text}\n`;
};

const textOf = (event: PlatformEvent, style: Style): string | undefined => {
  const failed = ({ code, message }: { code: string; message: string }): string => `${style.red(code)}: ${oneLine(message, 160)}`;
  switch (event.type) {
    case "run.accepted":
      // Its beginning is told by `run.recovering`.
      if (event.kind === "recovery") return undefined;
      return `${style.bold(oneLine(event.name))} accepted ${style.dim(event.run)}`;
    case "run.finished": {
      const took = style.dim(`in ${duration(event.durationMs)} ${event.run}`);
      const why = event.failure === undefined ? "" : `  ${failed(event.failure)}`;
      return `${style.bold(oneLine(event.name))} ${statusPainter(style, event.status)(event.status)} ${took}${why}`;
    }
    case "run.suspended":
      return `${style.bold(oneLine(event.name))} ${style.red("suspended")} ${style.dim(event.run)}  ${failed(event.failure)}`;
    case "run.resumed":
      return `${style.bold(oneLine(event.name))} resumed ${style.dim(event.run)}`;
    case "run.recovering":
      return `${style.cyan(event.function)} ${style.yellow("recovering")} from ${event.fault} ${style.dim(`${event.run}, ${event.recovery}`)}`;
    case "run.recovered": {
      const who = event.by === undefined ? `in ${duration(event.tookMs)}` : `by ${oneLine(event.by, 40)}`;
      return `${style.cyan(event.function)} ${style.green("recovered")}: ${event.decision} ${style.dim(`${who} ${event.run}`)}`;
    }
    case "state.stale":
      return `${style.bold(oneLine(event.key))} ${style.red("stale")}: ${event.stale.fault} in ${event.stale.function} ${style.dim(event.stale.run)}`;
    case "state.fresh":
      return `${style.bold(oneLine(event.key))} fresh again`;
    case "object.put":
      return `${style.bold(oneLine(`${event.object.bucket}/${event.object.key}`))} put ${style.dim(`${event.object.size} bytes`)}`;
    case "object.deleted":
      return `${style.bold(oneLine(`${event.bucket}/${event.key}`))} deleted`;
    case "trigger.refused":
      return `${style.bold(oneLine(event.name))} ${style.red("not started")} by ${event.event}: ${oneLine(event.reason, 160)} ${style.dim(event.run)}`;
    case "call.retrying": {
      const pause = duration(Math.max(0, event.retryAt - event.at));
      return `${style.cyan(event.function)} ${style.yellow(`attempt ${event.attempt} failed`)}, again in ${pause} ${style.dim(event.run)}  ${failed(event.failure)}`;
    }
    case "alert.raised":
      return `${style.red("alert")} ${event.alert} of ${style.cyan(event.function)}: ${event.measure} is ${event.value}, the bound is ${event.bound}`;
    case "alert.cleared":
      return `${style.green("alert over")} ${event.alert} of ${style.cyan(event.function)}: ${event.measure} is ${event.value}`;
    case "pod.lost":
      return `${style.red("pod lost")} ${event.pod} ${style.dim(`(${event.function})`)} with ${event.calls} calls: ${oneLine(event.reason, 160)}`;
    case "fault.detected": {
      const lost = event.calls === 0 ? "" : `, ${event.calls} lost`;
      const noticed = style.dim(`noticed in ${duration(event.detectionMs)}${lost}`);
      return `${style.red(faultHead({ ...event, type: event.kind }))} ${noticed} ${oneLine(event.detail, 160)}`;
    }
    case "fault.repaired":
      return `${style.green(faultHead({ ...event, type: event.kind }))} ${repairText(event)}`;
    case "replicas.changed": {
      const strength = `${event.serving} of ${event.of}`;
      const reason = event.reason === "" ? "" : `: ${oneLine(event.reason, 160)}`;
      return `replicas of ${style.cyan(event.function)} ${event.state} ${style.dim(`(${strength}, epoch ${event.epoch})`)}${reason}`;
    }
    case "platform.started":
      return event.recovered === 0 ? undefined : `recovered ${event.recovered} runs in ${duration(event.recoveryMs)}`;
    case "platform.audited":
      return event.repaired === 0 ? undefined : `${style.red("audit")} repaired ${event.repaired} of ${event.checked} runs`;
    case "scale.decided":
      return `${style.cyan(event.function)} ${event.from} ${style.dim("→")} ${event.pods} pods: ${oneLine(event.reason, 160)}`;
    case "service.condition": {
      const what = event.holds ? style.red(event.condition) : style.green(`${event.condition} over`);
      return `service ${style.cyan(event.service)} ${what}: ${oneLine(event.reason, 160)}`;
    }
    case "service.changed":
      return `service ${style.cyan(event.service)} ${event.change}`;
    case "application.deployed":
    case "pod.started":
    case "pod.stopped":
      return undefined;
    default:
      return undefined;
  }
};
