// Rules for js/: mistakes, and the house's own. Run by tools/check.py; nothing of it ships.
import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(path.resolve('.env/npm/index.js'))
const js = require('@eslint/js')
const globals = require('globals')

const house = [
  ["MemberExpression[property.name='prototype']", 'Nothing of the page is patched.'],
  ["AssignmentExpression[left.object.name=/^(window|globalThis|document|app|api|LiteGraph)$/]", 'Nothing of the page is written to.'],
  ["MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]", 'Elements are made by el().'],
  ["CallExpression[callee.name=/^(eval|setInterval)$/]", 'Nothing is evaluated or polled.'],
  ["MemberExpression[property.name=/^onDraw/]", 'Nothing is drawn on the graph.'],
  ["CallExpression[callee.object.object.name='document'][callee.object.property.name=/^(body|head)$/]", 'Nothing is appended to the document.'],
].map(([selector, message]) => ({ selector, message }))

export default [
  { ...js.configs.recommended, files: ['js/**/*.{js,mjs}'] },
  {
    files: ['js/**/*.{js,mjs}'],
    languageOptions: { ecmaVersion: 2024, sourceType: 'module', globals: { ...globals.browser, LiteGraph: 'readonly' } },
    rules: {
      'no-console': 'error', 'no-var': 'error', 'prefer-const': 'error', eqeqeq: 'error', 'no-shadow': 'error', 'no-implicit-globals': 'error',
      'no-restricted-syntax': ['error', ...house],
      'no-restricted-globals': ['error', 'localStorage', 'sessionStorage', 'indexedDB'],
      'max-lines': ['error', 250], 'max-depth': ['error', 3], complexity: ['error', 14], 'max-len': ['error', { code: 160 }],
      'max-lines-per-function': ['error', 60], semi: ['error', 'never'], quotes: ['error', 'single', { avoidEscape: true }],
    },
  },
]
