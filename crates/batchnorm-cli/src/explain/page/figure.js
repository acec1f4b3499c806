'use strict';
// Numbers as people read them: src/explain/figure.rs, to the digit.
function figure(value, digits) {
  if (Number.isNaN(value)) return 'not a number';
  if (!Number.isFinite(value)) return value > 0 ? 'infinity' : '\u2212infinity';
  const [mantissa, power] = Math.abs(value).toExponential(digits - 1).split('e');
  const figures = mantissa.replace('.', '');
  const exponent = Number(power);
  const fixed = exponent >= -4 && exponent < digits;
  let text;
  if (fixed && exponent < 0) text = '0.' + '0'.repeat(-1 - exponent) + figures;
  else if (fixed) text = figures.slice(0, exponent + 1) + '.' + figures.slice(exponent + 1);
  else text = figures.slice(0, 1) + '.' + figures.slice(1);
  text = text.replace(/0+$/, '').replace(/\.$/, '');
  if (text === '' || text === '0') return '0';
  const all = (value < 0 ? '-' : '') + text + (fixed ? '' : 'e' + exponent);
  return all.replaceAll('-', '\u2212');
}

