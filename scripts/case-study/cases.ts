/** The cases: what each order brings about, and what must become of it. */
import type { FaultClass } from "../../src/lib/verdict.ts";
import type { Observer } from "./observer.ts";

export interface Case {
  /** Also the beginning of its orders' ids. */
  name: string;
  what: string;
  /** Where the paper describes it; absent for what the paper lacks. */
  paper?: string;
  /** The content of the object that is put. */
  order(id: string, observer: Observer): unknown;
  verdict: FaultClass;
  /** What recovery decides; `platform` when the platform tries again by itself. */
  decision: "retry" | "resume" | "compensate" | "escalate" | "fail" | "platform";
  run: "completed" | "failed";
  /** The order's status in the state store afterwards. */
  state: string;
  /** Whether the ledger holds the payment afterwards. */
  paid: boolean;
  /** Nobody has written the order's status since its writer failed. */
  stale?: boolean;
  /** The failure happens in the function's code, and can be repeated quickly. */
  quick?: boolean;
  /** What happens beside the run: readers while the value is stale, a ledger that comes back, a person who decides. */
  beside?: "reader-and-ledger" | "person";
}

const base = (id: string, { url }: Observer) => ({
  id,
  customer: "Ada",
  amount: 25,
  currency: "EUR",
  ledger: `${url}/ledger`,
  archive: "archive",
  observer: url,
  fault: id.replace(/-\d+$/, ""),
});

const plain = (id: string, observer: Observer) => base(id, observer);

export const CASES: readonly Case[] = [
  {
    name: "invalid-bucket",
    what: "the order is copied to a bucket that can't exist",
    paper: "§6.1, figure 4: InvalidBucketName",
    order: (id, observer) => ({ ...base(id, observer), archive: "Archive_2020" }),
    verdict: "resource-not-found",
    decision: "retry",
    run: "completed",
    state: "paid",
    paid: true,
    quick: true,
  },
  {
    name: "type-error",
    what: "the code reads a field of undefined",
    paper: "§6.1, figure 5: TypeError",
    order: plain,
    verdict: "execution",
    decision: "resume",
    run: "completed",
    state: "set-aside",
    paid: false,
    quick: true,
  },
  {
    name: "access-denied",
    what: "the function reads a bucket that its permissions don't list",
    paper: "§6.1, figure 6: AccessDenied",
    order: plain,
    verdict: "permission",
    decision: "compensate",
    run: "failed",
    state: "withdrawn",
    paid: false,
    quick: true,
  },
  {
    name: "malformed-event",
    what: "the order that was put lacks its amount",
    paper: "§6: invocation errors, structure of the event",
    order: (id, observer) => ({ ...base(id, observer), amount: undefined }),
    verdict: "invocation",
    decision: "resume",
    run: "completed",
    state: "rejected",
    paid: false,
  },
  {
    name: "wrong-configuration",
    what: "the shop is configured with a currency that does not exist",
    paper: "§6: invocation errors, function configuration",
    order: (id, observer) => ({ ...base(id, observer), currency: "EURO" }),
    verdict: "invocation",
    decision: "retry",
    run: "completed",
    state: "paid",
    paid: true,
  },
  {
    name: "storage-unreachable",
    what: "nobody listens where the ledger should be; readers are refused until it is back",
    paper: "§6: database access failure, network",
    order: (id, observer) => ({ ...base(id, observer), ledger: `http://127.0.0.1:${observer.closedPort}/late` }),
    verdict: "storage-unavailable",
    decision: "retry",
    run: "completed",
    state: "paid",
    paid: true,
    beside: "reader-and-ledger",
  },
  {
    name: "storage-timeout",
    what: "the ledger takes the request and never answers",
    paper: "§6: database access failure, time-outs",
    order: (id, observer) => ({ ...base(id, observer), ledger: `${observer.url}/silent` }),
    verdict: "timeout",
    decision: "retry",
    run: "completed",
    state: "paid",
    paid: true,
  },
  {
    name: "pod-killed",
    what: "kill -9 of the pod in the middle of the payment",
    order: plain,
    verdict: "pod-lost",
    decision: "platform",
    run: "completed",
    state: "paid",
    paid: true,
  },
  {
    name: "out-of-memory",
    what: "the code takes more memory than its pod has",
    order: plain,
    verdict: "out-of-memory",
    decision: "platform",
    run: "completed",
    state: "paid",
    paid: true,
  },
  {
    name: "hang",
    what: "the code never yields",
    order: plain,
    verdict: "timeout",
    decision: "retry",
    run: "completed",
    state: "paid",
    paid: true,
  },
  {
    name: "check-failed",
    what: "the function returns, but the ledger has lost the payment",
    paper: "§4: tests of the monitoring function",
    order: plain,
    verdict: "check-failed",
    decision: "retry",
    run: "completed",
    state: "paid",
    paid: true,
    quick: true,
  },
  {
    name: "recovery-fails",
    what: "the payment fails, and its recovery too, three times: a person decides",
    order: plain,
    verdict: "execution",
    decision: "resume",
    run: "completed",
    state: "confirmed",
    paid: false,
    stale: true,
    beside: "person",
  },
];
