import type { Command } from "commander";
import { Option } from "commander";

export const withJson = (command: Command): Command => command.option("--json", "print JSON for programs to standard output");

export const withConnection = (command: Command): Command =>
  withApiKeyFile(withJson(command)).option("--url <url>", "address of the platform (default: LOCKSTEP_URL, else http://127.0.0.1:4700)");

export const withApiKeyFile = (command: Command): Command =>
  command.option("--api-key-file <path>", "file that holds the API key (default: the environment's LOCKSTEP_API_KEY)");

/** For commands that start a run and wait for it. */
export const withWork = (command: Command): Command =>
  withConnection(command)
    .option("--app <path>", "run it on a private platform with this application, for the time of this command")
    .option("--key <key>", "idempotency key: the same key gives back the same run")
    .option("--timeout <duration>", "stop waiting after this time, such as 30s or 5m (exit code 4)");

export const withPriority = (command: Command): Command => command.option("--priority <number>", "higher goes first (default: 0)");

/** For commands that start a platform. */
export const withPlatform = (command: Command): Command =>
  withApiKeyFile(withJson(command))
    .option("--data <directory>", "data directory", ".lockstep")
    .option("--host <address>", "address to listen at; beyond loopback an API key is needed", "127.0.0.1")
    .addOption(new Option("--port <number>", "port to listen at; 0 takes any free one").default("4700"));
