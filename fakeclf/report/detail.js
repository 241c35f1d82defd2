"use strict";
// What one picture's view is made of, and the pieces of it that the table shows too. Text is only ever set as text,
// never as markup.
const ORDER = ["fake", "unsure", "real", "cannot tell", "error"];
const shapes = document.getElementById("shapes").content;

/** An element with attributes, listeners (functions) and children; null and false are left out. */
function make(name, values, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(values || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...given(children));
  return element;
}

function shape(verdict) {
  const known = ORDER.includes(verdict) ? verdict : "error";
  return shapes.querySelector("." + known.replace(" ", "-")).cloneNode(true);
}

const whole = (number) => number.toLocaleString("en");
const EXTENT = { local: "a part of the picture", whole: "the whole picture" };
const given = (children) => children.flat().filter((child) => ![null, undefined, false].includes(child));

function percent(share, digits = 1) {
  if (typeof share !== "number") return "–";
  if (share === 0 || share === 1) return 100 * share + " %";
  const least = 10 ** -digits;
  if (100 * share < least) return "< " + least + " %";
  if (100 * share > 100 - least) return "> " + (100 - least) + " %";
  return (100 * share).toFixed(digits) + " %";
}

function change(step) {
  const [kind, value] = step.split(":");
  if (kind === "jpeg") return "saving it as JPEG of quality " + value;
  if (kind === "webp") return "saving it as WebP of quality " + value;
  if (kind === "resize" || kind === "scale") return "resizing it to " + percent(Number(value), 0);
  return step;
}

function image(source, text, record) {
  if (!source) return make("span", { class: "gap" }, text);
  const small = record.size && Math.max(...record.size) <= 64;
  return make("img", { src: source, alt: text, class: small ? "coarse" : null, decoding: "async" });
}

const section = (title, ...children) => make("section", {}, make("h3", {}, title), ...children);

/** What a model says, beside where it would have said something else. */
function bar(vote) {
  const from = vote.threshold;
  const below = Math.min(typeof vote.real_below === "number" ? vote.real_below : from, from);
  const band = below < from ? "unsure from " + percent(below) + ", " : "";
  const limits = "Real below " + percent(below) + ", " + band + "fake from " + percent(from) + ".";
  const label = "P(FAKE) " + percent(vote.p_fake, 2) + ". " + limits;
  const box = make("div", { class: "bar", role: "img", "aria-label": label });
  for (const [name, share] of [["real", below], ["unsure", from - below], ["fake", 1 - from]]) {
    if (share <= 0) continue;
    const zone = make("span", { class: "zone " + name }, share > 0.1 && make("span", {}, name));
    zone.style.width = 100 * share + "%";
    box.append(zone);
  }
  const mark = make("span", { class: "mark" });
  mark.style.left = 100 * vote.p_fake + "%";
  box.append(mark);
  return make("div", {}, box, make("p", { class: "muted scale" }, limits));
}

function ballot(vote, record) {
  const says = vote.says ? [shape(vote.says), "says " + vote.says] : ["no vote"];
  const asked = typeof vote.p_fake === "number";
  return make("li", { class: "vote" },
    make("p", {}, make("bdi", { class: "model" }, vote.model), make("span", { class: "muted" }, " " + vote.kind),
      vote.model === record.decided_by && make("span", { class: "tag" }, "decided")),
    make("p", {}, make("span", { class: "word" }, ...says), asked && make("span", {}, "P(FAKE) ",
      make("b", {}, percent(vote.p_fake, 2)))),
    !vote.says && make("p", { class: "muted" }, vote.no_vote || "No reason was given."),
    asked && typeof vote.threshold === "number" && bar(vote));
}

function text(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  return String(value);
}
const plain = (value) => value === null || typeof value !== "object";
const empty = (value) => value === null || value === "" || (!plain(value) && Object.values(value).every(empty));
const WORDS = {
  bandwidth: "fine detail (0 to 1)",
  jpeg_grid: "JPEG blocks begin at",
  jpeg_quality: "last JPEG quality",
  jpeg_tables: "JPEG tables are those of",
  noise: "noise (of 255)",
  sha256: "fingerprint (sha256)",
};

/** Any record of names and values, nested or not. */
function listing(values) {
  if (plain(values)) return make("bdi", {}, text(values));
  if (Array.isArray(values)) {
    if (values.every((item) => typeof item === "number")) return make("bdi", {}, values.map(text).join(", "));
    return make("ul", {}, values.filter((item) => !empty(item)).map((item) => make("li", {}, listing(item))));
  }
  const label = (key) => (Object.hasOwn(WORDS, key) ? WORDS[key] : key.replaceAll("_", " "));
  const entries = Object.entries(values).filter(([, value]) => !empty(value));
  return make("dl", { class: "facts" }, entries.map(([key, value]) =>
    make("div", {}, make("dt", {}, make("bdi", {}, label(key))), make("dd", {}, listing(value)))));
}

/** Sentences, and what they were made from; the names and values alone where there are none. */
function evidence(values) {
  const { sentences, ...rest } = values;
  if (!Array.isArray(sentences) || empty(sentences)) return listing(rest);
  const all = !empty(rest) && make("details", {}, make("summary", {}, "All that was read"), listing(rest));
  return [listing(sentences), all];
}

const CAPTIONS = {
  picture: "Picture",
  overlay: "Marks: orange is what looks repainted",
  mask: "The whiter, the likelier it was repainted",
  heat: "What the classifier goes by: yellow the most, blue the least",
  reliability: "The brighter, the more repeated looks agree",
  residual: "The noise under the picture",
};

/** All that is known of a picture; `shown` are its thumbnails, `buttons` stand beside its name. */
function detail({ record, verdict, name }, shown, buttons) {
  const changes = record.flips_after.map(change).join(" or ") || "a change";
  const stable = { flips: "⇄ flips after " + changes, stable: "stays the same when saved again" }[record.stable];
  const votes = [...record.votes].sort((a, b) => (b.model === record.decided_by) - (a.model === record.decided_by));
  const files = Object.keys(CAPTIONS).concat("binary").filter((key) => record[key + "_path"]);
  const about = {
    path: record.path,
    size: record.size && whole(record.size[0]) + " × " + whole(record.size[1]) + " pixels",
    sha256: record.sha256,
    "made with": record.version && "fakeclf " + record.version,
    took: record.seconds === null ? null : record.seconds.toFixed(1) + " s",
    "files written": files.map((key) => record[key + "_path"]),
  };
  return given([
    make("header", {}, make("h2", { id: "detail-name", tabindex: "-1" }, make("bdi", {}, name)),
      make("div", { class: "steps" }, buttons)),
    make("p", { class: "finding" }, make("span", { class: "word" }, shape(verdict), verdict),
      EXTENT[record.extent] && make("span", {}, EXTENT[record.extent]),
      record.p_fake !== null && make("span", {}, "P(FAKE) " + percent(record.p_fake, 2)),
      record.area !== null && make("span", {}, record.area ? percent(record.area) + " marked" : "nothing marked"),
      stable && make("span", {}, stable)),
    record.error && make("p", { class: "notice", dir: "auto" }, record.error),
    make("div", { class: "plates" }, Object.entries(CAPTIONS).filter(([key]) => key in shown).map(([key, caption]) =>
      make("figure", {}, image(shown[key], shown[key] ? caption : "cannot be shown", record),
        make("figcaption", {}, caption)))),
    make("div", { class: "columns" },
      make("div", {},
        record.why.length > 0 && section("Why",
          make("ul", {}, record.why.map((line) => make("li", { dir: "auto" }, line)))),
        record.votes.length > 0 && section("What each model says",
          make("ul", { class: "votes" }, votes.map((vote) => ballot(vote, record))))),
      make("div", {},
        !empty(record.provenance) && section("What the file says of itself",
          make("p", { class: "muted" }, "Evidence beside the verdict; not part of P(FAKE)."),
          evidence(record.provenance)),
        !empty(record.traces) && section("What the pixels tell of their past", evidence(record.traces)),
        section("File", listing(about)))),
  ]);
}
