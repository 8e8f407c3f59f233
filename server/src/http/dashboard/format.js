// Numbers and times as people read them.

const number = new Intl.NumberFormat("en");

export const count = (value) => number.format(value ?? 0);
export const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many ?? `${one}s`}`;
export const fixed = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const percent = (share) =>
  share === 0 ? "0 %" : share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;

export function ms(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${value} ms` : `${(value / 1000).toFixed(value < 10000 ? 1 : 0)} s`;
}

export function usd(micro) {
  if (micro === null || micro === undefined) return "–";
  const dollars = micro / 1e6;
  return dollars === 0 ? "$0" : dollars < 0.01 ? "< $0.01" : `$${dollars.toFixed(2)}`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let rest = value ?? 0;
  let unit = 0;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? rest : rest.toFixed(1)} ${units[unit]}`;
}

const zone = () => (localStorage.getItem("dramatis-zone") === "utc" ? "UTC" : undefined);

export function clock(time) {
  return new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: zone() }).format(
    new Date(time),
  );
}

export function day(time) {
  return new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: zone() }).format(
    new Date(time),
  );
}

export function moment(time) {
  return `${day(time)}, ${clock(time)}`;
}

export function full(time) {
  return new Date(time).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

export function ago(time, now = Date.now()) {
  const seconds = (now - new Date(time).getTime()) / 1000;
  const [value, unit] =
    Math.abs(seconds) < 60
      ? [seconds, "s"]
      : Math.abs(seconds) < 3600
        ? [seconds / 60, "min"]
        : Math.abs(seconds) < 86400
          ? [seconds / 3600, "h"]
          : [seconds / 86400, "d"];
  const text = `${Math.round(Math.abs(value))} ${unit}`;
  return seconds < 0 ? `in ${text}` : Math.abs(seconds) < 2 ? "just now" : `${text} ago`;
}

export function lasting(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}
