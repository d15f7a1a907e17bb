// The visible part of the pattern: zoom, pan, and conversion between positions, SVG units and the screen.

const MAX_ZOOM = 24;
const MARGIN = 1.06;
// SVG coordinates have few digits, and positions in 1/Å are small.
const SVG_UNITS_PER_INV_ANGSTROM = 1000;

export class Viewport {
  #svg;
  #onChange;
  #full = { x: 0, y: 0, width: 1, height: 1 };
  #visible = this.#full;
  // SVG units per unit of a position.
  scale = 1;

  constructor(svg, onChange) {
    this.#svg = svg;
    this.#onChange = onChange;
    new ResizeObserver(() => onChange()).observe(svg);
  }

  // Fit the whole frame or, without one, a circle around all points.
  fit({ frame }, { inPixels, center, spots }) {
    this.scale = inPixels ? 1 : SVG_UNITS_PER_INV_ANGSTROM;
    if (frame) {
      this.#full = { x: -0.5, y: -0.5, width: frame.width, height: frame.height };
    } else {
      const distances = spots.map(({ position: [x, y] }) => Math.hypot(x - center[0], y - center[1]));
      const radius = Math.max(...distances) * this.scale * MARGIN;
      const [x, y] = this.toSvg(center);
      this.#full = { x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius };
    }
    this.reset();
  }

  // SVG units per pixel of the screen.
  get pixel() {
    const { clientWidth, clientHeight } = this.#svg;
    return Math.max(this.#visible.width / (clientWidth || 1), this.#visible.height / (clientHeight || 1));
  }

  get zoom() {
    return this.#full.width / this.#visible.width;
  }

  // The position in the middle of the visible part.
  get middle() {
    const { x, y, width, height } = this.#visible;
    return [(x + width / 2) / this.scale, (y + height / 2) / this.scale];
  }

  toSvg([x, y]) {
    return [x * this.scale, y * this.scale];
  }

  // Convert a point of the screen, such as that of a pointer event, to a position.
  fromScreen({ clientX, clientY }) {
    const matrix = this.#svg.getScreenCTM().inverse();
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(matrix);
    return [x / this.scale, y / this.scale];
  }

  // Convert pixels of the screen to a distance in units of positions.
  fromPixels(pixels) {
    return pixels * this.pixel / this.scale;
  }

  zoomBy(factor, fixedPosition = this.middle) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), MAX_ZOOM);
    const [x, y] = this.toSvg(fixedPosition);
    const { width, height } = this.#full;
    const ratio = this.zoom / zoom;
    const left = x - (x - this.#visible.x) * ratio, top = y - (y - this.#visible.y) * ratio;
    this.#show({ x: left, y: top, width: width / zoom, height: height / zoom });
  }

  panBy(dx, dy) {
    this.#show({ ...this.#visible, x: this.#visible.x - dx * this.scale, y: this.#visible.y - dy * this.scale });
  }

  reset() {
    this.#show({ ...this.#full });
  }

  #show(box) {
    const { x, y, width, height } = this.#full;
    box.x = Math.min(Math.max(box.x, x), x + width - box.width);
    box.y = Math.min(Math.max(box.y, y), y + height - box.height);
    this.#visible = box;
    this.#svg.classList.toggle("unzoomed", this.zoom < 1.01);
    this.#svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.width} ${box.height}`);
    this.#onChange();
  }
}
