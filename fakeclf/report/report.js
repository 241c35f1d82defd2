// Table, search and filters over the data blocks above, and which picture is open.
(() => {
  const PAGE = 100;
  const byId = (id) => document.getElementById(id);
  const dialog = byId("detail");
  const thumbnails = document.getElementsByClassName("thumbnails"); // read only when shown: they are most of the page

  const word = (record) => (ORDER.includes(record.verdict) ? record.verdict : "error");
  const muted = (text) => make("span", { class: "muted" }, text);
  const last = (path) => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);

  const pictures = Array.from(document.getElementsByClassName("record"), (tag, index) => {
    const record = JSON.parse(tag.textContent);
    const path = record.path === null ? "picture " + (index + 1) + " (no file)" : record.path;
    const found = path.normalize("NFKC").toLowerCase();
    return { index, record, path, name: last(path), found, verdict: word(record) };
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
    const pages = Math.ceil(view.shown.length / PAGE);
    byId("table").hidden = !here.length;
    byId("nothing").hidden = here.length > 0;
    byId("pages").hidden = pages < 2;
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
        EXTENT[record.extent] && muted(EXTENT[record.extent])),
      cell("P(FAKE)", percent(record.p_fake)),
      cell("Marked area", percent(record.area)),
      cell("If saved again", record.stable === "flips" ? make("b", {}, "⇄ flips") : record.stable || "–"),
      cell("Size", record.size ? whole(record.size[0]) + " × " + whole(record.size[1]) : "–"),
    );
  }

  const named = () => pictures[Number((/^#picture-(\d+)$/.exec(location.hash) || [])[1]) - 1];

  function route() {
    const picture = named();
    if (!picture) return dialog.close();
    const button = (label, click, disabled) => make("button", { type: "button", click, disabled }, label);
    dialog.replaceChildren(...detail(picture, shots(picture), [
      button("‹ Previous", () => move(-1), !beside(picture, -1)),
      button("Next ›", () => move(1), !beside(picture, 1)),
      button("✕ Close", () => dialog.close(), false),
    ]));
    dialog.scrollTop = 0;
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

  function beside(picture, by) {
    const place = view.shown.indexOf(picture);
    return place < 0 ? undefined : view.shown[place + by];
  }

  function move(by) {
    const next = beside(named(), by);
    if (!next) return;
    history.replaceState(history.state, "", "#picture-" + (next.index + 1));
    route();
  }

  dialog.addEventListener("close", () => {
    if (!named()) return; // closed by going back
    if (history.state && history.state.opened) history.back();
    else history.replaceState(null, "", location.href.split("#")[0]);
  });
  dialog.addEventListener("click", (event) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const { clientX: x, clientY: y } = event;
    if (event.target === dialog && (x < left || x > right || y < top || y > bottom)) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  window.addEventListener("popstate", route);

  // ---- the page ----

  byId("opening").remove();
  document.querySelector(".reading").open = window.innerWidth > 760; // on a phone the pictures come first
  for (const term of document.querySelectorAll("[data-shape]")) term.prepend(shape(term.dataset.shape));
  if (!pictures.length) return;
  const filter = (label, values, click) => byId("filters").append(make("button", { type: "button", ...values,
    click: () => { click(); update(); } }, label));
  for (const verdict of ORDER) {
    const count = pictures.filter((picture) => picture.verdict === verdict).length;
    if (!count) continue;
    const part = make("span", { class: "part " + verdict.replace(" ", "-") });
    part.style.flexGrow = count;
    byId("bar").append(part);
    byId("counts").append(make("li", { class: "word" }, shape(verdict), whole(count) + " " + verdict));
    const label = make("span", { class: "word" }, shape(verdict), verdict + " ", muted(whole(count)));
    filter(label, { "data-verdict": verdict }, () => view.chosen.delete(verdict) || view.chosen.add(verdict));
  }
  const flips = pictures.filter((picture) => picture.record.stable === "flips").length;
  if (flips) {
    const label = make("span", { class: "word" }, "⇄ flips only ", muted(whole(flips)));
    filter(label, {}, () => { view.flips = !view.flips; });
  }
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
