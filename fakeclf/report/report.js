"use strict";
// Table and details, made of the data blocks above. Text is only ever set as text, never as markup.
(() => {
  const PAGE = 100;
  const ORDER = ["fake", "unsure", "real", "cannot tell", "error"];
  const byId = (id) => document.getElementById(id);
  const dialog = byId("detail");
  const shapes = byId("shapes").content;
  const thumbnails = document.getElementsByClassName("thumbnails"); // read only when shown: they are most of the page

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

  const word = (record) => (ORDER.includes(record.verdict) ? record.verdict : "error");
  const shape = (verdict) => shapes.querySelector("." + verdict.replace(" ", "-")).cloneNode(true);
  const whole = (number) => number.toLocaleString("en");
  const last = (path) => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
  const EXTENT = { local: "a part of the picture", whole: "the whole picture" };
  const given = (children) => children.flat().filter((child) => child !== null && child !== undefined && child !== false);

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

  const pictures = Array.from(document.getElementsByClassName("record"), (tag, index) => {
    const record = JSON.parse(tag.textContent);
    const path = record.path === null ? "picture " + (index + 1) + " (no file)" : record.path;
    return { index, record, path, name: last(path), found: path.normalize("NFKC").toLowerCase(), verdict: word(record) };
  });
  const shots = (picture) => JSON.parse(thumbnails[picture.index].textContent);
  const pixels = (picture) => (picture.record.size ? picture.record.size[0] * picture.record.size[1] : null);
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  // Key, heading, value to sort by (null comes last either way), whether a first click begins with the largest.
  const COLUMNS = [
    ["name", "Name", (picture) => picture.name, false],
    ["verdict", "Verdict", (picture) => ORDER.indexOf(picture.verdict), false],
    ["p_fake", "P(FAKE)", (picture) => picture.record.p_fake, true],
    ["area", "Marked area", (picture) => picture.record.area, true],
    ["stable", "If saved again", (picture) => ["flips", "stable"].indexOf(picture.record.stable) + 1 || null, false],
    ["size", "Size", pixels, true],
  ];
  const view = { chosen: new Set(), flips: false, words: [], column: null, down: false, page: 0, shown: pictures };

  function update(page = 0) {
    const fits = (picture) =>
      (!view.chosen.size || view.chosen.has(picture.verdict)) &&
      (!view.flips || picture.record.stable === "flips") &&
      view.words.every((part) => picture.found.includes(part));
    view.shown = pictures.filter(fits);
    if (view.column) {
      const value = view.column[2];
      const keyed = view.shown.map((picture) => [value(picture), picture]);
      const sign = view.down ? -1 : 1;
      keyed.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "string" ? compare(a, b) : a - b);
      });
      view.shown = keyed.map(([, picture]) => picture);
    }
    view.page = page;
    draw();
  }

  function draw() {
    const first = view.page * PAGE;
    const here = view.shown.slice(first, first + PAGE);
    byId("rows").replaceChildren(...here.map(row));
    const range = here.length ? whole(first + 1) + " to " + whole(first + here.length) + " of " : "";
    const all = view.shown.length === pictures.length ? "" : ", out of " + whole(pictures.length);
    byId("status").textContent = "Showing " + range + whole(view.shown.length) + all;
    byId("table").hidden = byId("pages").hidden = !here.length;
    byId("nothing").hidden = here.length > 0;
    const pages = Math.ceil(view.shown.length / PAGE);
    if (pages < 2) byId("pages").hidden = true;
    byId("page").textContent = "Page " + (view.page + 1) + " of " + pages;
    byId("before").disabled = view.page === 0;
    byId("after").disabled = view.page + 1 >= pages;
    for (const heading of document.querySelectorAll("#columns [data-key]")) {
      const sorted = view.column && view.column[0] === heading.dataset.key;
      heading.setAttribute("aria-sort", sorted ? (view.down ? "descending" : "ascending") : "none");
    }
    for (const button of byId("filters").children) {
      const on = button.dataset.verdict ? view.chosen.has(button.dataset.verdict) : view.flips;
      button.setAttribute("aria-pressed", String(on));
    }
  }

  function image(source, text, record) {
    if (!source) return make("span", { class: "gap" }, text);
    const small = record.size && Math.max(...record.size) <= 64;
    return make("img", { src: source, alt: text, class: small ? "coarse" : null, decoding: "async" });
  }

  function row(picture) {
    const { record, verdict, name, path } = picture;
    const shown = shots(picture);
    const link = (values, ...children) =>
      make("a", { href: "#picture-" + (picture.index + 1), click: follow, ...values }, ...children);
    const marks = record.area === 0 ? "nothing marked" : record.area === null ? "not searched" : "marks not kept";
    const folder = path.slice(0, path.length - name.length);
    const cell = (label, value) => make("td", { role: "cell", "data-label": label }, value);
    return make(
      "tr",
      { role: "row" },
      make(
        "td",
        { role: "cell", class: "shots" },
        // The link of the name says the same; one stop for the keyboard is enough.
        link({ tabindex: "-1", "aria-hidden": "true" }, image(shown.picture, "cannot be shown", record),
          image(shown.overlay, "overlay" in shown ? "cannot be shown" : marks, record)),
      ),
      make("th", { role: "rowheader", scope: "row", class: "name" }, link({}, make("bdi", {}, name)),
        folder && make("bdi", { class: "folder" }, folder)),
      make("td", { role: "cell", class: "verdict" }, make("span", { class: "word" }, shape(verdict), verdict),
        EXTENT[record.extent] && make("span", { class: "muted" }, EXTENT[record.extent])),
      cell("P(FAKE)", percent(record.p_fake)),
      cell("Marked area", percent(record.area)),
      cell("If saved again", record.stable === "flips" ? make("b", {}, "⇄ flips") : record.stable || "–"),
      cell("Size", record.size ? whole(record.size[0]) + " × " + whole(record.size[1]) : "–"),
    );
  }

  // ---- one picture ----

  const section = (title, ...children) => make("section", {}, make("h3", {}, title), ...children);

  /** What a model says, beside where it would have said something else. */
  function bar(vote) {
    const from = vote.threshold;
    const below = Math.min(typeof vote.real_below === "number" ? vote.real_below : from, from);
    const band = below < from ? "unsure from " + percent(below) + ", " : "";
    const label = "P(FAKE) " + percent(vote.p_fake, 2) + "; real below " + percent(below) + ", " + band +
      "fake from " + percent(from);
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
    return make("div", {}, box, make("p", { class: "muted scale" }, "Real below " + percent(below) + ", " + band +
      "fake from " + percent(from) + "."));
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
    if (value === true) return "yes";
    if (value === false) return "no";
    if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
    return String(value);
  }
  const plain = (value) => value === null || typeof value !== "object";
  const empty = (value) => value === null || value === "" || (!plain(value) && !Object.keys(value).length);

  /** Any record of names and values, nested or not. */
  function listing(values) {
    if (plain(values)) return make("bdi", {}, text(values));
    if (Array.isArray(values)) {
      if (values.every((item) => typeof item === "number")) return make("bdi", {}, values.map(text).join(", "));
      return make("ul", {}, values.filter((item) => !empty(item)).map((item) => make("li", {}, listing(item))));
    }
    return make("dl", { class: "facts" }, Object.entries(values).filter(([, value]) => !empty(value)).map(([key, value]) =>
      make("div", {}, make("dt", {}, make("bdi", {}, key.replaceAll("_", " "))), make("dd", {}, listing(value)))));
  }

  /** Sentences first, then the rest as names and values. */
  function evidence(values) {
    const { sentences, ...rest } = values;
    return [Array.isArray(sentences) && sentences.length > 0 && listing(sentences), !empty(rest) && listing(rest)];
  }

  const CAPTIONS = {
    picture: "Picture",
    overlay: "Marks: orange is what looks repainted",
    mask: "The whiter, the likelier it was repainted",
    heat: "What the classifier goes by: yellow the most, blue the least",
    reliability: "The brighter, the more repeated looks agree",
    residual: "The noise under the picture",
  };

  function detail(picture) {
    const { record, verdict, name } = picture;
    const shown = shots(picture);
    const place = view.shown.indexOf(picture);
    const step = (by, label) => make("button", { type: "button", disabled: place < 0 || !view.shown[place + by],
      click: () => move(by) }, label);
    const changes = record.flips_after.map(change).join(" or ") || "a change";
    const stable = { flips: "⇄ flips after " + changes, stable: "stays the same when saved again" }[record.stable];
    const votes = [...record.votes].sort((a, b) => (b.model === record.decided_by) - (a.model === record.decided_by));
    const files = Object.keys(CAPTIONS).concat("binary").filter((key) => record[key + "_path"]);
    const about = {
      path: record.path,
      size: record.size && whole(record.size[0]) + " × " + whole(record.size[1]) + " pixels",
      sha256: record.sha256,
      "made with": record.version && "fakeclf " + record.version,
      took: record.seconds !== null && record.seconds.toFixed(1) + " s",
      "files written": files.map((key) => record[key + "_path"]),
    };
    dialog.replaceChildren(...given([
      make("header", {}, make("h2", { id: "detail-name", tabindex: "-1" }, make("bdi", {}, name)),
        make("div", { class: "steps" }, step(-1, "‹ Previous"), step(1, "Next ›"),
          make("button", { type: "button", click: () => dialog.close() }, "✕ Close"))),
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
          record.why.length > 0 && section("Why", make("ul", {}, record.why.map((line) => make("li", { dir: "auto" }, line)))),
          record.votes.length > 0 && section("What each model says",
            make("ul", { class: "votes" }, votes.map((vote) => ballot(vote, record))))),
        make("div", {},
          !empty(record.provenance) && section("What the file says of itself",
            make("p", { class: "muted" }, "Evidence beside the verdict; not part of P(FAKE)."), evidence(record.provenance)),
          !empty(record.traces) && section("What the pixels tell of their past", evidence(record.traces)),
          section("File", listing(about)))),
    ]));
    dialog.scrollTop = 0;
  }

  const named = () => pictures[Number((/^#picture-(\d+)$/.exec(location.hash) || [])[1]) - 1];

  function route() {
    const picture = named();
    if (!picture) return dialog.close();
    detail(picture);
    if (!dialog.open) dialog.showModal();
    byId("detail-name").focus();
    return undefined;
  }

  function follow(event) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState({ opened: true }, "", event.currentTarget.getAttribute("href"));
    route();
  }

  function move(by) {
    const next = view.shown[view.shown.indexOf(named()) + by];
    if (!next) return;
    history.replaceState(history.state, "", "#picture-" + (next.index + 1));
    route();
  }

  dialog.addEventListener("close", () => {
    if (!named()) return; // closed by going back
    if (history.state && history.state.opened) history.back();
    else history.replaceState(null, "", location.href.split("#")[0]);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  window.addEventListener("popstate", route);

  // ---- the page ----

  byId("opening").remove();
  document.querySelector(".reading").open = window.innerWidth > 760; // on a phone the pictures come first
  for (const term of document.querySelectorAll("[data-shape]")) term.prepend(shape(term.dataset.shape));
  if (!pictures.length) return;
  const counts = new Map(ORDER.map((verdict) => [verdict, 0]));
  for (const picture of pictures) counts.set(picture.verdict, counts.get(picture.verdict) + 1);
  for (const [verdict, count] of counts) {
    if (!count) continue;
    const part = make("span", { class: "part " + verdict.replace(" ", "-") });
    part.style.flexGrow = count;
    byId("bar").append(part);
    byId("counts").append(make("li", { class: "word" }, shape(verdict), whole(count) + " " + verdict));
  }
  const toggle = (verdict) => view.chosen.delete(verdict) || view.chosen.add(verdict);
  const filter = (label, values, click) => byId("filters").append(make("button", { type: "button", ...values,
    click: () => { click(); update(); } }, label));
  for (const [verdict, count] of counts) {
    if (count) filter(make("span", { class: "word" }, shape(verdict), verdict + " ", make("span", { class: "muted" }, whole(count))),
      { "data-verdict": verdict }, () => toggle(verdict));
  }
  const flips = pictures.filter((picture) => picture.record.stable === "flips").length;
  if (flips) filter(make("span", { class: "word" }, "⇄ flips only ", make("span", { class: "muted" }, whole(flips))), {},
    () => { view.flips = !view.flips; });
  for (const column of COLUMNS) {
    const sort = () => {
      view.down = view.column === column ? !view.down : column[3];
      view.column = column;
      update();
    };
    byId("columns").append(make("th", { role: "columnheader", scope: "col", "data-key": column[0] },
      make("button", { type: "button", click: sort }, column[1])));
  }
  const search = byId("search");
  search.addEventListener("input", () => {
    view.words = search.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
    update();
  });
  byId("clear").addEventListener("click", () => {
    search.value = "";
    Object.assign(view, { words: [], flips: false });
    view.chosen.clear();
    update();
    search.focus();
  });
  const turn = (by) => { update(view.page + by); byId("pictures").scrollIntoView(); };
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  byId("pictures").hidden = false;
  update();
  if (named()) route();
})();
