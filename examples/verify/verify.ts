/**
 * Checks a certificate without the platform that gave it, and without a network.
 * Usage: node verify.ts <certificate.json> <admin.pub> <input.json> <result.json>
 */
import { readFileSync } from "node:fs";
import { verifyCertificate } from "lockstep/verify";

const [certificate, adminKey, input, result] = process.argv.slice(2);
if (certificate === undefined || adminKey === undefined || input === undefined || result === undefined) {
  console.error("usage: node verify.ts <certificate.json> <admin.pub> <input.json> <result.json>");
  process.exit(2);
}

// JSON as the SDK writes it, whatever the file's indentation.
const compact = (file: string): string => JSON.stringify(JSON.parse(readFileSync(file, "utf8")));

const verification = verifyCertificate(readFileSync(certificate), {
  adminKey: readFileSync(adminKey, "utf8"),
  input: compact(input),
  outcome: `{"value":${compact(result)}}`,
});

if (verification.ok) {
  const { statement, membership, replicas } = verification;
  console.log(
    `${replicas.length} of ${membership.replicas.length} replicas of ${membership.set} have signed it: call ${statement.operation}`,
  );
} else {
  console.log(`This proves nothing: ${verification.reason}`);
}
process.exitCode = verification.ok ? 0 : 1;
