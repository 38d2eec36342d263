import { test } from 'uvu';
import * as assert from 'uvu/assert';
import mri from 'mri';

test('a name is taken', () => assert.is(mri(['--name=x']).name, 'x'));
test.run();
