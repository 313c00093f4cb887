"use strict";
// Tables sort by any column: the first press ascending, the second descending, the third in the order of the file.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], original = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    return heads[column].classList.contains("n") ? (cell.dataset.v === undefined ? NaN : Number(cell.dataset.v)) : cell.textContent;
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    return a - b;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      for (const other of heads) other.removeAttribute("aria-sort");
      const rows = [...original];
      if (order) {
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const missing = (row) => Number.isNaN(key(row, column)); // always last
        rows.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : sign * compare(key(a, column), key(b, column))));
      }
      body.append(...rows);
      document.getElementById("said").textContent = order ? `sorted by ${button.textContent}, ${order}` : "in the original order";
    });
  });
}
// Only boxes that do scroll need to be stops of the tab key.
const boxes = document.querySelectorAll(".scroll, pre[tabindex]");
const stops = () => {
  for (const box of boxes) box.scrollWidth > box.clientWidth + 1 ? (box.tabIndex = 0) : box.removeAttribute("tabindex");
};
stops();
addEventListener("resize", stops);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", stops);
